"""The exceptions of wsnursery.

::

    Exception
    ├── OSError
    │   └── ConnectionError
    │       └── WebSocketDisconnected     the connection has ended
    ├── RuntimeError
    │   ├── LocalProtocolError            the application broke the order of calls
    │   └── RemoteProtocolError           the server or the peer broke the protocol
    ├── TypeError
    │   └── UnexpectedMessage             text where bytes were asked for, or the reverse
    └── ValueError
        └── InvalidPayload                a message that is not JSON

Beside these, anyio's own exceptions say what they say everywhere else:
``anyio.ClosedResourceError`` (use after the own close), ``anyio.BusyResourceError`` (a second
reader) and ``anyio.WouldBlock`` (``send_nowait`` on a full buffer).
"""

from __future__ import annotations

from typing import Any, TypeVar

_MAX_SHOWN_REASON = 200
"""Characters of a peer's text in a sentence: enough to recognise it, too few to flood a log."""


E = TypeVar("E", bound=BaseException)


def shown(text: str) -> str:
    """A peer's text as it may stand in a message or a log: escaped and cut."""
    cut = text[:_MAX_SHOWN_REASON]
    return repr(cut) if len(cut) == len(text) else f"{cut!r}..."


def escaped(text: str) -> str:
    """The same where quotes would be in the way: in the field of a log record or in a picture."""
    cut = text[:_MAX_SHOWN_REASON]
    printable = "".join(part if part.isprintable() else repr(part)[1:-1] for part in cut)
    return printable if len(cut) == len(text) else f"{printable}..."


class WebSocketDisconnected(ConnectionError):
    """The connection has ended: nothing more can be exchanged.

    Raised in place by the calls that wait when the connection ends and by those made after it, and
    by the ``async with`` block when the end cut its body short. It is a `ConnectionError`, so code
    written to the rule of ASGI 2.4 ("``send`` raises `OSError`") keeps working. ``__cause__`` is
    the exception of the server, where it gave one.

    Args:
        code: The close code (RFC 6455 §7.1.5), or `None` if the server gave none.
        reason: The close reason (RFC 6455 §7.1.6), empty if there was none.
        undelivered: How many messages this side had queued that the server never took.
    """

    code: int | None
    """The close code, or `None` if the server did not give one. Never invented."""
    reason: str
    """The close reason; it is the peer's text: escape it where it is shown."""
    undelivered: int
    """Messages queued on this side that the server had not taken when the connection ended."""

    def __init__(self, code: int | None = None, reason: str = "", undelivered: int = 0) -> None:
        super().__init__(_sentence(code, reason, undelivered))
        self.code = code
        self.reason = reason
        self.undelivered = undelivered

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.reason, self.undelivered)


def attribute(exc: E, origin: object) -> E:
    """Say which connection an exception is about; a bare token says it.

    A reference to the connection itself would keep the handler's frame alive for as long as
    somebody keeps the exception.

    Beside `WebSocketDisconnected` that is the `anyio.ClosedResourceError` of a task that has not
    closed the WebSocket itself: to that task it is the end of the connection like any other.
    """
    exc.__dict__["_origin"] = origin
    return exc


def is_attributed(exc: BaseException, origin: object) -> bool:
    """Whether an exception is about this connection."""
    return getattr(exc, "_origin", None) is origin


def _sentence(code: int | None, reason: str, undelivered: int) -> str:
    facts = "without a close code" if code is None else f"with code {int(code)}"
    if reason:
        facts += f" and reason {shown(reason)}"
    if undelivered:
        facts += f"; {undelivered} queued message{'s' * (undelivered > 1)} not delivered"
    return f"the WebSocket connection has ended {facts}"


class LocalProtocolError(RuntimeError):
    """The application called something out of order or with a value that may not be sent.

    For instance `send` before `accept`, a second `accept`, or a reserved close code. Nothing has
    changed: the connection is as usable as before the call.
    """


class RemoteProtocolError(RuntimeError):
    """The server or the peer broke the protocol, for instance with an unknown event type."""


class UnexpectedMessage(TypeError):
    """``receive_text`` met bytes, or ``receive_bytes`` met text.

    The message is not lost: it is ``exception.message``. The connection stays usable.

    Args:
        sentence: What was expected and what came.
        message: The message that came.
    """

    message: str | bytes
    """The message that was received."""

    def __init__(self, sentence: str, message: str | bytes) -> None:
        super().__init__(sentence)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.message)


class InvalidPayload(ValueError):
    """``receive_json`` met a message that is not JSON.

    The message is not lost: it is ``exception.message``. The connection stays usable.

    Args:
        sentence: What is wrong with it.
        message: The message that came.
    """

    message: str | bytes
    """The message that was received."""

    def __init__(self, sentence: str, message: str | bytes) -> None:
        super().__init__(sentence)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.message)
