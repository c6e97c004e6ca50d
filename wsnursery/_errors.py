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

In addition to these, anyio's exceptions have their usual meaning: ``anyio.ClosedResourceError``
(use after your own close), ``anyio.BusyResourceError`` (a second reader) and ``anyio.WouldBlock``
(``send_nowait`` on a full buffer).
"""

from __future__ import annotations

from typing import Any, TypeVar

_MAX_SHOWN_REASON = 200
"""Characters of a peer's text in a message: enough to recognise it, too few to flood a log."""


E = TypeVar("E", bound=BaseException)


def shown(text: str) -> str:
    """Escape and cut a peer's text, so that it is safe in a message or a log."""
    shortened = text[:_MAX_SHOWN_REASON]
    return repr(shortened) if len(shortened) == len(text) else f"{shortened!r}..."


def escaped(text: str) -> str:
    """Do the same without quotes, for the field of a log record or for a picture."""
    shortened = text[:_MAX_SHOWN_REASON]
    printable = "".join(part if part.isprintable() else repr(part)[1:-1] for part in shortened)
    return printable if len(shortened) == len(text) else f"{printable}..."


class WebSocketDisconnected(ConnectionError):
    """The connection has ended: no more messages can be exchanged.

    Calls that wait when the connection ends raise it in place, and so do later calls. The
    ``async with`` block raises it when the end interrupted its body. It is a `ConnectionError`, so
    code that follows the rule of ASGI 2.4 ("``send`` raises `OSError`") keeps working.
    ``__cause__`` is the exception of the server, if there was one.

    Args:
        code: The close code (RFC 6455 §7.1.5), or `None` if the server gave none.
        reason: The close reason (RFC 6455 §7.1.6), empty if there was none.
        undelivered: The number of queued messages that the server never took.
    """

    code: int | None
    """The close code, or `None` if the server did not give one. Never invented."""
    reason: str
    """The close reason. It is text from the peer, so escape it where you show it."""
    undelivered: int
    """Messages queued on this side that the server had not taken when the connection ended."""

    def __init__(self, code: int | None = None, reason: str = "", undelivered: int = 0) -> None:
        super().__init__(_sentence(code, reason, undelivered))
        self.code = code
        self.reason = reason
        self.undelivered = undelivered

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.reason, self.undelivered)


def attribute(exc: E, token: object) -> E:
    """Attach to an exception the token of the connection that it is about.

    A bare token is used, because a reference to the connection would keep the handler's frame alive
    as long as the exception is kept.

    In addition to `WebSocketDisconnected`, this is used for the `anyio.ClosedResourceError` of a
    task that has not closed the WebSocket itself. For that task, the close is an end of the
    connection like any other.
    """
    exc.__dict__["_token"] = token
    return exc


def is_attributed(exc: BaseException, token: object) -> bool:
    """Return whether an exception is about this connection."""
    return getattr(exc, "_token", None) is token


def _sentence(code: int | None, reason: str, undelivered: int) -> str:
    facts = "without a close code" if code is None else f"with code {int(code)}"
    if reason:
        facts += f" and reason {shown(reason)}"
    if undelivered:
        facts += f"; {undelivered} queued message{'s' * (undelivered > 1)} not delivered"
    return f"the WebSocket connection has ended {facts}"


class LocalProtocolError(RuntimeError):
    """The application made a call out of order, or with a value that may not be sent.

    Examples are `send` before `accept`, a second `accept`, and a reserved close code. The call
    changed nothing: the connection is as usable as before.
    """


class RemoteProtocolError(RuntimeError):
    """The server or the peer broke the protocol, for instance with an unknown event type."""


class UnexpectedMessage(TypeError):
    """``receive_text`` got bytes, or ``receive_bytes`` got text.

    The message is not lost: it is ``exception.message``. The connection stays usable.

    Args:
        sentence: What was expected, and what was received.
        message: The message that was received.
    """

    message: str | bytes
    """The message that was received."""

    def __init__(self, sentence: str, message: str | bytes) -> None:
        super().__init__(sentence)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.message)


class InvalidPayload(ValueError):
    """``receive_json`` got a message that is not JSON.

    The message is not lost: it is ``exception.message``. The connection stays usable.

    Args:
        sentence: What is wrong with the message.
        message: The message that was received.
    """

    message: str | bytes
    """The message that was received."""

    def __init__(self, sentence: str, message: str | bytes) -> None:
        super().__init__(sentence)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.message)
