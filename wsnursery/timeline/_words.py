"""Words for numbers, exceptions and other people's texts: short, on one line, without surprises."""

from __future__ import annotations

from typing import cast

from wsnursery._errors import escaped, shown

ARROW = " \N{LEFTWARDS ARROW} "
"""Between what happened and its cause."""

_MAX_LINKS = 8
"""Exceptions in one chain, and in one group: what comes behind them is rarely the reason."""
_MAX_SEEN = 32
"""Exceptions in all, however they are nested."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def amount(messages: int, size: int) -> str:
    """How much was exchanged."""
    of = "" if messages == 1 else f"{counted(messages, 'message')}, "
    if size < 10_000:
        return f"{of}{counted(size, 'byte')}"
    return f"{of}{size / 1e3:.0f} kB" if size < 10_000_000 else f"{of}{size / 1e6:.0f} MB"


def short_name(name: str) -> str:
    """A qualified name without the functions in which it was defined."""
    return escaped(name.rpartition("<locals>.")[2])


def chain(error: BaseException | None) -> tuple[str, ...]:
    """An exception and its causes, the outermost first, as Python's own traceback follows them."""
    return tuple(_links(error, set()))


def _links(error: BaseException | None, seen: set[int]) -> list[str]:
    """The same, without what was seen: a member of a group can have the group as its context."""
    links: list[str] = []
    while (
        error is not None
        and id(error) not in seen
        and len(links) < _MAX_LINKS
        and len(seen) < _MAX_SEEN
    ):
        seen.add(id(error))
        links.append(_link(error, seen))
        if not isinstance(error, Exception | BaseExceptionGroup):
            break  # what a cancellation was raised in the middle of is not why
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return links


def _link(error: BaseException, seen: set[int]) -> str:
    name = short_name(type(error).__qualname__)
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        members = [ARROW.join(_links(member, seen)) for member in group.exceptions[:_MAX_LINKS]]
        return escaped(f"{name} [{'; '.join(filter(None, members))}]")
    if not isinstance(error, Exception):
        return name  # a cancellation: what it says is about scopes and tasks, with their addresses
    try:
        text = escaped(str(error))
    except Exception:  # noqa: BLE001 - anybody's class: an observer must not fail over it
        text = "(no text)"
    return f"{name}: {text}" if text else name


def ending(code: int | None, reason: str) -> str:
    """A close code and its reason."""
    said = "no close code" if code is None else f"code {int(code)}"
    return f"{said}, reason {shown(reason)}" if reason else said


def duration(seconds: float) -> str:
    """A time in a unit that suits it."""
    if seconds <= 0:
        return "0 s"
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} \N{MICRO SIGN}s"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 59.995:
        return f"{round(seconds, 2):g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
