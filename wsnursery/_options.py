"""`Options`: everything that can be set about a connection, in one frozen object."""

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

    The same object goes unchanged to ``open_websocket``, ``websocket_app`` and the other
    transports. Every limit is finite by default, except how long a handler may run and how long a
    healthy connection may be idle: only the application can know those.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: A value is out of range.
    """

    receive_buffer: int = 64
    """Received messages that may wait to be read, in messages (at least 1).

    When they wait, the server is no longer read and TCP slows the peer down. One more message is in
    hand, so that a disconnect right behind a full buffer is still seen. It is read again as soon
    as a quarter of the buffer is free, or 5 ms after there was room for one. While a raw send is
    under way the bound is twice this, because Hypercorn's ``send`` can depend on being read; when
    it has not come back within 0.25 s, 11,000 messages more, and three times the bytes."""

    receive_buffer_bytes: int = 1024 * 1024
    """The same bound in bytes (at least 1). A single message may exceed it, up to
    ``max_message_size``."""

    send_buffer: int = 256
    """Messages that may wait to be sent, in messages (at least 1): `send_nowait` raises
    ``anyio.WouldBlock`` beyond it. The message that the server has in hand does not count."""

    send_buffer_bytes: int = 1024 * 1024
    """The same bound in bytes (at least 1)."""

    grace_period: float = 5.0
    """Seconds after the end of the connection in which a task that was told may unwind (``except``,
    ``finally``, code after the loop) and a reader may finish what had arrived. Then it is cancelled
    like the rest. 0 grants nothing."""

    close_timeout: float = 5.0
    """Seconds for leaving: flush, close frame and the peer's answer together. An application that
    is left with a peer that never answers waits this long; half a minute of it would outlive the
    shutdown grace of most deployments."""

    send_timeout: float | None = 30.0
    """Seconds that one raw send may take before the connection counts as broken, with a
    `TimeoutError` as the cause. This is what frees you from a peer that no longer reads. `None`
    waits for ever."""

    idle_timeout: float | None = None
    """Seconds without a message from the peer before the connection is closed with 1001. `None`,
    the default, waits for ever: a quiet peer may be healthy. Set it where the server does not
    notice dead peers (Hypercorn and granian do not by default)."""

    ping_interval: float | None = 20.0
    """Seconds between two pings, over trio-websocket; `None` sends none. Nothing else tells a quiet
    peer from one that vanished, and many proxies drop a connection that is idle for a minute. An
    ASGI server has a setting of its own for it, and this one is nothing there."""

    ping_timeout: float | None = 20.0
    """Seconds that a peer may leave a ping unanswered, while it sends nothing else, before the
    connection counts as broken, with a `TimeoutError` as the cause. `None` waits for ever."""

    incoming: Literal["buffer", "discard"] = "buffer"
    """What becomes of the peer's messages. ``"discard"`` is for connections that only push: the
    messages are dropped unread, so the disconnect behind them is always seen."""

    max_message_size: int = 1024 * 1024
    """The largest message taken from the peer, in bytes of payload (at least 1). A larger one
    closes the connection with 1009."""

    max_messages_per_second: float | None = None
    """The messages that a peer may send in the long run, per second (more than 0). One that sends
    more, after the burst below, is closed with 1008. `None`, the default, sets no limit: a peer
    that sends too fast is slowed down by TCP as soon as ``receive_buffer`` is full, memory is
    bounded all the same, and no rate fits every application. Set it where reading itself is dear,
    or where one client must not take what is meant for all."""

    message_burst: int = 100
    """The messages that a peer may send at once, whatever ``max_messages_per_second`` says (at
    least 1). After a pause of the network a healthy client's messages arrive together."""

    allowed_origins: Sequence[str] | None = None
    """The origins whose pages may connect, such as ``["https://example.org"]``: scheme, host and
    port must match. ``"https://*.example.org"`` allows every subdomain, but not the domain itself;
    ``"same"`` allows the host to which the request goes (its ``Host`` header, which a proxy must
    pass on). Others are denied with 403 before the handler runs. `None` allows all. A request
    without an ``Origin`` header does not come from a browser's page and passes. What can never
    match, such as a path or letters outside ASCII, is refused here with the right spelling."""

    codec: Codec = STANDARD
    """Writes and reads JSON for `WebSocket.send_json`, `receive_json` and `receive_as`. The default
    is the standard library's, because the package needs no other. Rooms have one of their own,
    because a message is written once for all members."""

    strict: bool = False
    """Hold the server to ASGI 2.4: only `OSError` from ``send`` means that the client is gone,
    everything else leaves as itself. For rolling out and for testing servers."""

    hooks: Sequence[Hook] = ()
    """Callables that are told what happens to a connection, see `wsnursery.hooks`. With none, the
    default, they cost nothing."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            _CHECKS[field.name](field.name, value)
        if self.allowed_origins is not None:
            # A copy: the caller's list may change, a frozen object must not.
            object.__setattr__(self, "allowed_origins", tuple(self.allowed_origins))
        object.__setattr__(self, "hooks", tuple(self.hooks))


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"Options.{name} is an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"Options.{name} is at least 1, not {value}")


def _check_seconds(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"Options.{name} is a number of seconds, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ValueError(f"Options.{name} is a finite number of seconds from 0 up, not {value}")


def _check_timeout(name: str, value: Any) -> None:
    if value is None:
        return
    _check_seconds(name, value)
    if value == 0:
        raise ValueError(f"Options.{name} is more than 0 seconds, or None for no limit")


def _check_rate(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"Options.{name} must be a number or None, got {type(value).__name__}")
    if not 0 < value < math.inf:
        raise ValueError(f"Options.{name} must be a finite number above 0 or None, got {value}")


def _check_incoming(name: str, value: Any) -> None:
    if value not in ("buffer", "discard"):
        raise ValueError(f"Options.{name} is 'buffer' or 'discard', not {value!r}")


def _check_origins(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"Options.{name} is a list of origins such as ['https://example.org']")
    for origin in cast("Sequence[object]", value):
        if not isinstance(origin, str):
            raise TypeError(f"Options.{name} holds strings, not {type(origin).__name__}")
        check_allowed_origin(origin)


def _check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"Options.{name} is True or False, not {value!r}")


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
        raise TypeError(f"Options.{name} is a list of hooks, not {type(value).__name__}")
    for hook in cast("Sequence[object]", value):
        if not callable(hook):
            raise TypeError(f"Options.{name} holds callables of one event, not {hook!r}")
        if isinstance(hook, type):
            raise TypeError(
                f"Options.{name} holds objects: write {hook.__name__}(), not {hook.__name__}"
            )
        if inspect.iscoroutinefunction(hook):
            raise TypeError(f"Options.{name} holds plain functions: a hook must not wait")


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
