"""Random programs as plain data: how they are made, and how they are made smaller."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from wsnursery import testing

Operation = tuple[Any, ...]
"""What a task does: a name, and numbers or lists of operations."""


class Bug(Exception):
    """The program's own error."""


@dataclass(frozen=True)
class Program:
    """What happens in one run."""

    body: tuple[Operation, ...]
    outside: tuple[Operation, ...]
    """What the peer and tasks that are not part of the connection do: a moment, and what."""
    personality: str
    answers_close: bool
    faults: tuple[Operation, ...]
    options: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return "\n".join(f"  {name} = {value!r}" for name, value in vars(self).items())


# -------------------------------------------------------------------------------- making programs

SIMPLE = ("send", "send", "send_nowait", "flush", "receive", "receive", "iterate", "checkpoints")
RARE = ("close", "raise", "cancel", "leave", "interrupt")
NESTED = ("child", "child", "timeout", "native timeout", "group", "native group", "gather")
AROUND = ("except", "finally", "shield")

MOMENTS = (0.0, 0.0, 0.01, 0.5, 1.0)


def make(seed: int) -> Program:
    """The program of a seed."""
    chance = random.Random(seed)
    return Program(
        body=_operations(chance, 3),
        outside=tuple(_outside(chance) for _ in range(chance.randint(0, 4))),
        personality=chance.choice(testing.SERVERS + testing.BASIC).name,
        answers_close=chance.random() < 0.7,
        faults=tuple(_fault(chance) for _ in range(chance.choice((0, 0, 1, 1, 2)))),
        options=(
            ("grace_period", chance.choice((0, 0.05, 5.0))),
            ("close_timeout", chance.choice((0.05, 1.0, 5.0))),
            ("send_timeout", chance.choice((0.5, 30.0))),
            ("receive_buffer", chance.choice((1, 64))),
            ("send_buffer", chance.choice((1, 256))),
            ("incoming", chance.choice(("buffer", "buffer", "buffer", "discard"))),
        ),
    )


def _operations(chance: random.Random, depth: int) -> tuple[Operation, ...]:
    return tuple(_operation(chance, depth) for _ in range(chance.randint(1, 3)))


def _operation(chance: random.Random, depth: int) -> Operation:
    kinds = [*SIMPLE, *SIMPLE, "sleep", *RARE]
    if depth:
        kinds += [*NESTED, *NESTED, *AROUND]
    name = chance.choice(kinds)
    if name == "interrupt" and chance.random() < 0.8:
        name = "send"
    if name == "sleep":
        return name, chance.choice((0.01, 1.0, 20.0))
    if name == "checkpoints":
        return name, chance.randint(0, 8)
    if name in ("timeout", "native timeout"):
        return name, chance.choice((0.0, 0.01, 1.0)), _operations(chance, depth - 1)
    if name in ("child", "shield"):
        return name, _operations(chance, depth - 1)
    if name in ("group", "native group", "gather", "except", "finally"):
        return name, _operations(chance, depth - 1), _operations(chance, depth - 1)
    return (name,)


def _outside(chance: random.Random) -> Operation:
    kinds = ("peer sends", "peer sends", "peer closes", "peer vanishes", "close", "send", "send")
    more = ("start_soon", "cancel", "cancel natively", "cancel natively twice", "shut down")
    return chance.choice(MOMENTS), chance.randint(0, 12), chance.choice(kinds + more)


def _fault(chance: random.Random) -> Operation:
    kinds = ("delay", "fail send", "fail send", "bug in send", "stall send", "stall shielded")
    more = ("fail receive", "bug in receive", "garbage", "foreign cancellation")
    return chance.choice(kinds + more), chance.randint(1, 6)


def smaller_programs(program: Program) -> Iterator[Program]:
    for name in ("outside", "faults", "body"):
        for fewer in _without_one(getattr(program, name), deep=name == "body"):
            if fewer or name != "body":
                yield replace(program, **{name: fewer})  # type: ignore[arg-type]
    defaults = {"grace_period": 5.0, "close_timeout": 5.0, "send_timeout": 30.0}
    defaults |= {"receive_buffer": 64, "send_buffer": 256, "incoming": "buffer"}  # type: ignore[dict-item]
    for at, (name, value) in enumerate(program.options):
        if value != defaults[name]:
            changed = list(program.options)
            changed[at] = (name, defaults[name])
            yield replace(program, options=tuple(changed))
    if program.personality != "silent" and any(p.name == "silent" for p in testing.BASIC):
        yield replace(program, personality="silent")
    if not program.answers_close:
        yield replace(program, answers_close=True)


def _without_one(operations: tuple[Any, ...], *, deep: bool) -> Iterator[tuple[Any, ...]]:
    for at, operation in enumerate(operations):
        yield operations[:at] + operations[at + 1 :]
        if not deep:
            continue
        for place, part in enumerate(operation):
            if isinstance(part, tuple):
                yield operations[:at] + part + operations[at + 1 :]
                for fewer in _without_one(part, deep=True):
                    inner = (*operation[:place], fewer, *operation[place + 1 :])
                    yield (*operations[:at], inner, *operations[at + 1 :])
