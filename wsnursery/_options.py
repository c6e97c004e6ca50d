"""`Options`: all settings of a connection, in one frozen object."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

from ._codec import STANDARD, Codec
from ._handshake import check_allowed_origin
from .hooks import Hook


@dataclass(frozen=True, kw_only=True)
class Options:
    """The limits and the mode of a connection.

    ``open_websocket``, ``websocket_app`` and the other transports take the same object. Every limit
    is finite by default, with two exceptions that only the application can know: how long a handler
    may run, and how long a healthy connection may be idle.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: A value is out of range.
    """

    receive_buffer: int = 64
    """Received messages that may wait to be read, in messages (at least 1).

    When the buffer is full, the engine stops reading from the server, and TCP slows the peer down.
    One more message may be in hand, so that a disconnect directly behind a full buffer is still
    seen. Reading continues when a quarter of the buffer is free, or 5 ms after there was room for
    one message.

    While a raw send is in flight, the limit is twice this value, because Hypercorn's ``send`` can
    depend on being read. If the send has not returned within 0.25 s, the limit is 11,000 messages
    more, and three times the bytes."""

    receive_buffer_bytes: int = 1024 * 1024
    """The same limit in bytes (at least 1). A single message may exceed it, up to
    ``max_message_size``."""

    send_buffer: int = 256
    """Messages that may wait to be sent, in messages (at least 1). Beyond it `send_nowait` raises
    ``anyio.WouldBlock``. The message in flight does not count."""

    send_buffer_bytes: int = 1024 * 1024
    """The same limit in bytes (at least 1)."""

    grace_period: float = 5.0
    """Seconds after the end of the connection during which a notified task may unwind (``except``,
    ``finally``, code after the loop), and a reader may finish the messages that had arrived. Then
    the task is cancelled like the others. With 0 it is cancelled at once."""

    close_timeout: float = 5.0
    """Seconds for leaving the block: flush, close frame and the peer's answer together. If the peer
    never answers, leaving takes this long. The default is short, because half a minute would
    exceed the time that most deployments allow for a shutdown."""

    send_timeout: float | None = 30.0
    """Seconds that one raw send may take. Then the connection ends abnormally, with a
    `TimeoutError` as the cause. This limit frees a handler from a peer that has stopped reading.
    `None` waits for ever."""

    idle_timeout: float | None = None
    """Seconds without a message from the peer after which the connection is closed with 1001.
    `None`, the default, waits for ever, because a silent peer may be healthy. Set it on servers
    that do not notice dead peers (by default, Hypercorn and granian do not)."""

    ping_interval: float | None = 20.0
    """Seconds between two pings, over trio-websocket. `None` sends no pings. Only a ping
    distinguishes a silent peer from one that vanished, and many proxies drop a connection that is
    idle for a minute. Over ASGI this option is ignored, because the server has its own setting."""

    ping_timeout: float | None = 20.0
    """Seconds that a peer may leave a ping unanswered while it sends nothing else. Then the
    connection ends abnormally, with a `TimeoutError` as the cause. `None` waits for ever."""

    incoming: Literal["buffer", "discard"] = "buffer"
    """What happens to messages from the peer. ``"buffer"`` keeps them for the reader.
    ``"discard"`` is for connections that only push: messages are dropped unread, so that the
    disconnect behind them is always seen."""

    max_message_size: int = 1024 * 1024
    """The largest message that is accepted from the peer, in bytes of payload (at least 1). A
    larger one closes the connection with 1009."""

    max_messages_per_second: float | None = None
    """Messages per second that a peer may send in the long run (more than 0). A peer that sends
    more than this, and more than ``message_burst`` at once, is closed with 1008. `None`, the
    default, sets no rate: TCP slows the peer down when ``receive_buffer`` is full, memory is
    bounded in any case, and no rate fits every application. Set it where handling a message is
    expensive, or where one client must not use up resources that all clients share."""

    message_burst: int = 100
    """Messages that a peer may send at once, regardless of ``max_messages_per_second`` (at least
    1). The reason is that a healthy client's messages arrive together after a network pause."""

    allowed_origins: Sequence[str] | None = None
    """The origins whose pages may connect, such as ``["https://example.org"]``: scheme, host and
    port must match. ``"https://*.example.org"`` allows every subdomain, but not the domain itself;
    ``"same"`` allows the host to which the request goes (its ``Host`` header, which a proxy must
    pass on). Others are denied with 403 before the handler runs. `None` allows all. A request
    without an ``Origin`` header does not come from a browser's page and passes. An entry that can
    never match, such as one with a path or with letters outside ASCII, is refused with an error
    that shows the right spelling."""

    codec: Codec = STANDARD
    """Writes and reads JSON for `WebSocket.send_json`, `receive_json` and `receive_as`. The default
    uses the standard library, so that the package needs no other. A room has its own codec,
    because it encodes a message once for all members."""

    strict: bool = False
    """Hold the server to ASGI 2.4: only an `OSError` from ``send`` means that the client is gone.
    Any other exception leaves unchanged. Use it to roll out and to test servers."""

    hooks: Sequence[Hook] = ()
    """Callables that receive the events of a connection, see `wsnursery.hooks`. The default is no
    hook, which costs nothing."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            _CHECKS[field.name](field.name, value)
        if self.allowed_origins is not None:
            # Copy it, because the caller may change the list, but a frozen object must not change.
            object.__setattr__(self, "allowed_origins", tuple(self.allowed_origins))
        object.__setattr__(self, "hooks", tuple(self.hooks))


def check_options(options: object) -> None:
    """Refuse what is not an `Options` object, such as a dictionary.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(options, Options):
        raise TypeError(
            f"options must be an Options object, got {type(options).__name__}: "
            "write options=Options(...)"
        )


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"Options.{name} must be an int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"Options.{name} must be at least 1, got {value}")


def _check_seconds(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"Options.{name} must be a number of seconds, got {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ValueError(f"Options.{name} must be finite and at least 0 seconds, got {value}")


def _check_timeout(name: str, value: Any) -> None:
    if value is None:
        return
    _check_seconds(name, value)
    if value == 0:
        raise ValueError(
            f"Options.{name} must be more than 0 seconds, or None for no limit, got {value}"
        )


def _check_rate(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"Options.{name} must be a number or None, got {type(value).__name__}")
    if not 0 < value < math.inf:
        raise ValueError(f"Options.{name} must be a finite number above 0 or None, got {value}")


def _check_incoming(name: str, value: Any) -> None:
    if value not in ("buffer", "discard"):
        raise ValueError(f"Options.{name} must be 'buffer' or 'discard', got {value!r}")


def _check_origins(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(
            f"Options.{name} must be a list of origins, such as ['https://example.org']"
        )
    for origin in cast("Sequence[object]", value):
        if not isinstance(origin, str):
            raise TypeError(f"Options.{name} must contain strings, got {type(origin).__name__}")
        check_allowed_origin(origin)


def _check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"Options.{name} must be True or False, got {value!r}")


def _check_codec(name: str, value: Any) -> None:
    if not isinstance(value, Codec):
        raise TypeError(
            f"Options.{name} must have the methods encode and decode, got {value!r}: "
            "use msgspec.json, for instance"
        )
    if isinstance(value, type):
        raise TypeError(
            f"Options.{name} must be an object, got a class: write {value.__name__}(), not "
            f"{value.__name__}"
        )


def _check_hooks(name: str, value: Any) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"Options.{name} must be a list of hooks, got {type(value).__name__}")
    for hook in cast("Sequence[object]", value):
        if not callable(hook):
            raise TypeError(
                f"Options.{name} must contain callables that take one event, got {hook!r}"
            )
        if isinstance(hook, type):
            raise TypeError(
                f"Options.{name} must contain objects, got a class: write {hook.__name__}(), not "
                f"{hook.__name__}"
            )
        if inspect.iscoroutinefunction(hook):
            raise TypeError(f"Options.{name} must contain plain functions: a hook must not wait")


_CHECKS = {
    "receive_buffer": _check_count,
    "receive_buffer_bytes": _check_count,
    "send_buffer": _check_count,
    "send_buffer_bytes": _check_count,
    "grace_period": _check_seconds,
    "close_timeout": _check_seconds,
    "send_timeout": _check_timeout,
    "idle_timeout": _check_timeout,
    "ping_interval": _check_timeout,
    "ping_timeout": _check_timeout,
    "incoming": _check_incoming,
    "max_message_size": _check_count,
    "max_messages_per_second": _check_rate,
    "message_burst": _check_count,
    "allowed_origins": _check_origins,
    "codec": _check_codec,
    "strict": _check_flag,
    "hooks": _check_hooks,
}
