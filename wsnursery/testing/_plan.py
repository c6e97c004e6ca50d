"""One run of an exploration, as data: the actions, the faults and the order of tasks.

``str(plan)`` is the seed that a failure prints, ``Plan.parse`` reads it back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

ActionKind: TypeAlias = Literal["cancel", "native", "vanish", "close"]
"""Actions from outside.

``cancel``: the code under test is cancelled through a cancel scope; ``native``: its asyncio task
is cancelled, as ``asyncio.timeout`` does; ``vanish``, ``close``: the peer leaves.
"""

TARGET_ACTIONS: tuple[ActionKind, ...] = ("cancel", "native")

FaultKind: TypeAlias = Literal["oserror", "gone", "error", "stall", "lost", "garbage", "raises"]
"""Faults in a raw call.

``oserror``: the send raises an ``OSError``; ``gone``: the same, and the disconnect event follows;
``error``: the send raises another exception; ``stall``: the send does not return until
the peer is gone; ``lost``: the receive returns a disconnect event; ``garbage``: the receive
returns an event that no server knows; ``raises``: the receive raises an ``OSError``.
"""

SEND_FAULTS: tuple[FaultKind, ...] = ("oserror", "gone", "error", "stall")
RECEIVE_FAULTS: tuple[FaultKind, ...] = ("lost", "garbage", "raises")
ALL_FAULTS: tuple[FaultKind, ...] = (*SEND_FAULTS, *RECEIVE_FAULTS)


@dataclass(frozen=True, slots=True)
class Action:
    """An action at the ``step``-th step of the code under test, counted from 1."""

    kind: ActionKind
    step: int
    index: int = 0
    """The target to cancel, or the connection whose peer leaves, in the order of creation."""

    def __str__(self) -> str:
        return f"{self.kind}{self.index}@{self.step}"


@dataclass(frozen=True, slots=True)
class CallFault:
    """The ``number``-th raw send or raw receive of a connection fails, counted from 1."""

    kind: FaultKind
    number: int
    index: int = 0
    """The connection, in the order of creation."""

    def __str__(self) -> str:
        return f"{self.kind}{self.index}#{self.number}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The interference with the code under test in one run."""

    action: Action | None = None
    fault: CallFault | None = None
    deviations: dict[int, int] = field(default_factory=dict[int, int])
    """Decision number -> choice, where it is not the first one. Decisions: which of the runnable
    tasks runs first (trio), and how many checkpoints a raw call takes."""

    @property
    def quiet(self) -> bool:
        """Whether there is no fault and no action. Then everything must work, in any order."""
        return self.action is None and self.fault is None

    def __str__(self) -> str:
        tape = "".join(f"~{at}={choice}" for at, choice in self.deviations.items())
        trouble = "+".join(str(part) for part in (self.action, self.fault) if part)
        return (trouble or "quiet") + tape

    @classmethod
    def parse(cls, seed: str) -> Plan:
        """Parse a seed that ``str()`` has written.

        Raises:
            ValueError: It is not a seed.
        """
        text, *tape = seed.split("~")
        action: Action | None = None
        fault: CallFault | None = None
        for part in text.split("+") if text != "quiet" else ():
            match = re.fullmatch(r"([a-z]+)(\d+)([@#])(\d+)", part)
            if match is None:
                raise ValueError(f"the seed must be one of an exploration, got {seed!r}")
            kind, index, sign, number = match.groups()
            if sign == "@" and kind in _ACTIONS:
                action = Action(_ACTIONS[kind], int(number), int(index))
            elif sign == "#" and kind in _FAULTS:
                fault = CallFault(_FAULTS[kind], int(number), int(index))
            else:
                raise ValueError(f"the seed must be one of an exploration, got {seed!r}")
        pairs = (entry.split("=") for entry in tape)
        return cls(action, fault, {int(at): int(choice) for at, choice in pairs})


_ACTIONS: dict[str, ActionKind] = {kind: kind for kind in get_args(ActionKind)}
_FAULTS: dict[str, FaultKind] = {kind: kind for kind in get_args(FaultKind)}


class Tape:
    """Makes every decision about order and delay. The default is the first choice."""

    def __init__(self, deviations: dict[int, int]) -> None:
        self._deviations = deviations
        self.options: list[int] = []
        """The number of choices at each decision so far."""

    def choose(self, options: int) -> int:
        """Choose one of ``range(options)``. The choices are the same in every run."""
        at = len(self.options)
        self.options.append(options)
        return min(self._deviations.get(at, 0), options - 1)
