"""Words for numbers, exceptions and other people's texts: short, on one line, without surprises."""

from __future__ import annotations

from wsnursery._errors import shown

ARROW = " \N{LEFTWARDS ARROW} "
"""Between what happened and its cause."""

_MAX_TEXT = 200
"""Characters of one text: enough to recognise it."""
_MAX_LINKS = 8
"""Exceptions in one chain, and in one group: what comes behind them is rarely the reason."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def amount(messages: int, size: int) -> str:
    """How much was exchanged."""
    of = "" if messages == 1 else f"{counted(messages, 'message')}, "
    if size < 10_000:
        return f"{of}{counted(size, 'byte')}"
    return f"{of}{size / 1e3:.0f} kB" if size < 10_000_000 else f"{of}{size / 1e6:.0f} MB"


def clean(text: str) -> str:
    """A text of anybody's, on one line, without what a terminal or XML would not take, and cut."""
    cut = " ".join(text[:_MAX_TEXT].split())
    escaped = "".join(part if part.isprintable() else repr(part)[1:-1] for part in cut)
    return escaped if len(text) <= _MAX_TEXT else f"{escaped}..."


def chain(error: BaseException | None) -> tuple[str, ...]:
    """An exception and its causes, the outermost first, as Python's own traceback follows them."""
    links: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen and len(links) < _MAX_LINKS:
        seen.add(id(error))
        links.append(_link(error))
        context = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or context
    return tuple(links)


def _link(error: BaseException) -> str:
    name = clean(type(error).__qualname__)
    if isinstance(error, BaseExceptionGroup):
        members = [ARROW.join(chain(member)) for member in error.exceptions[:_MAX_LINKS]]
        return clean(f"{name} [{'; '.join(members)}]")
    if not isinstance(error, Exception):
        return name  # a cancellation: what it says is about scopes and tasks, with their addresses
    try:
        text = clean(str(error))
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
