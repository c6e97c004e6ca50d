"""Short, safe one-line texts for numbers, exceptions and text from peers."""

from __future__ import annotations

from typing import cast

from wsnursery._errors import escaped, shown

ARROW = " \N{LEFTWARDS ARROW} "
"""The separator between an event and its cause."""

_MAX_LINKS = 8
"""The most exceptions of one chain or one group. Later ones are rarely the reason."""
_MAX_SEEN = 32
"""The most exceptions in total, however they are nested."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def amount(messages: int, size: int) -> str:
    """Write how much was exchanged."""
    of = "" if messages == 1 else f"{counted(messages, 'message')}, "
    if size < 10_000:
        return f"{of}{counted(size, 'byte')}"
    return f"{of}{size / 1e3:.0f} kB" if size < 10_000_000 else f"{of}{size / 1e6:.0f} MB"


def short_name(name: str) -> str:
    """Shorten a qualified name by the functions in which it was defined."""
    return escaped(name.rpartition("<locals>.")[2])


def chain(error: BaseException | None) -> tuple[str, ...]:
    """Return an exception and its causes, the outermost first, as a traceback shows them."""
    return tuple(_links(error, set()))


def _links(error: BaseException | None, seen: set[int]) -> list[str]:
    """Do the same, but skip seen exceptions: a group can be the context of its own member."""
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
            break  # the context of a cancellation is not its reason
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return links


def _link(error: BaseException, seen: set[int]) -> str:
    name = short_name(type(error).__qualname__)
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        members = [ARROW.join(_links(member, seen)) for member in group.exceptions[:_MAX_LINKS]]
        return escaped(f"{name} [{'; '.join(filter(None, members))}]")
    if not isinstance(error, Exception):
        return name  # the text of a cancellation has only addresses of scopes and tasks
    try:
        text = escaped(str(error))
    except Exception:  # noqa: BLE001 - a foreign class, on which an observer must not fail
        text = "(no text)"
    return f"{name}: {text}" if text else name


def ending(code: int | None, reason: str) -> str:
    """Write a close code and its reason."""
    said = "no close code" if code is None else f"code {int(code)}"
    return f"{said}, reason {shown(reason)}" if reason else said


def duration(seconds: float) -> str:
    """Write a duration in a suitable unit."""
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
