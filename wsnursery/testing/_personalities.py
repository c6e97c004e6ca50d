"""Personalities: how servers behave where the ASGI specification leaves room or is violated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

LateSend: TypeAlias = Callable[[str], Exception] | None
"""Makes the exception of a raw send after the peer is gone, from the type of the event.

With ``None`` the send returns normally, and without a checkpoint.
"""


@dataclass(frozen=True, kw_only=True)
class Personality:
    """The behaviour of an in-memory server. Every difference between real servers is a field.

    The presets of this module are named after real servers, and document the versions that behave
    in this way. Make a variant with :func:`dataclasses.replace`::

        quiet = dataclasses.replace(HYPERCORN_TRIO, receive_queue=1)
    """

    name: str
    """Appears in error messages and in the ids of parametrised tests."""

    spec_version: str | None = "2.4"
    """``scope["asgi"]["spec_version"]``; with ``None`` the key is missing (daphne)."""

    late_send: LateSend = None
    """A raw send after the peer is gone, before the application received the disconnect event."""

    notified_send: LateSend = None
    """A raw send after the application received the disconnect event."""

    send_waits_for_queue: bool = False
    """A raw send to a peer that is gone waits until the queue of unread events has room.

    Hypercorn does this, so an application that sends and receives in one task hangs for ever.
    """

    shielded_sends: bool = False
    """A raw send that waits for the peer cannot be cancelled (Hypercorn on trio)."""

    close_code: int | Literal["peer"] | None = "peer"
    """The reported code if the peer's close frame had a code. ``"peer"`` means that code."""

    empty_close_code: int | None = 1005
    """The reported code if the peer's close frame was empty."""

    loss_code: int | None = 1006
    """The reported code if the connection was lost without a close frame."""

    reports_code: bool = True
    """Whether the disconnect event has the key ``code`` at all."""

    reports_reason: bool = True
    """Whether the disconnect event after a close frame has the key ``reason``."""

    own_close: Literal["at once", "reply"] = "reply"
    """When the disconnect event comes after the application's own close.

    ``"at once"``: together with the close; ``"reply"``: when the peer has answered, or never.
    """

    own_close_code: int | Literal["own"] | None = "own"
    """The code of that event. ``"own"`` means the code that the application sent."""

    after_disconnect: Literal["hang", "repeat"] = "hang"
    """What ``receive()`` does after it has returned the disconnect event."""

    close_waits_for_receive: bool = False
    """A raw close waits while another task is inside the raw receive (granian)."""

    cancelled_receive_loses: bool = False
    """A raw receive that is cancelled while its event arrives loses that event (granian)."""

    both_payload_keys: bool = False
    """A message event has both ``text`` and ``bytes``, one of them ``None`` (Hypercorn)."""

    extensions: tuple[str, ...] | None = ("websocket.http.response",)
    """The names in ``scope["extensions"]``; with ``None`` the key is missing (daphne)."""

    ended_code: int | None = 1011
    """The close code that the peer gets when the application ends without closing.

    With ``None`` the connection is cut without a close frame.
    """

    unanswered_status: int = 500
    """The HTTP status when the application ends without answering the handshake."""

    receive_queue: int | None = 10
    """Messages that are kept for an application that does not receive. Then the peer waits."""

    send_queue: int | None = 16
    """Messages that server and network take before a raw send waits for the peer to read."""


class _ClientDisconnected(OSError):
    """Represents uvicorn's class of this name: an OSError without text and errno."""


def _foreign(name: str, module: str) -> type[Exception]:
    """Make a class that represents an exception of another library, by name and module."""
    return type(name, (Exception,), {"__module__": module})


_ConnectionClosedError: Final = _foreign("ConnectionClosedError", "websockets.exceptions")


def client_disconnected(_event_type: str) -> Exception:
    """The ``ClientDisconnected`` of uvicorn >= 0.27, an ``OSError``."""
    return _ClientDisconnected()


def unexpected_message(event_type: str) -> Exception:
    """The ``RuntimeError`` of uvicorn's legacy implementation."""
    return RuntimeError(
        f"Unexpected ASGI message {event_type!r}, after sending 'websocket.close' "
        "or response already completed."
    )


def connection_closed(_event_type: str) -> Exception:
    """The exception of the protocol library that escapes from uvicorn < 0.27."""
    return _ConnectionClosedError("no close frame received or sent")


def broken_pipe(_event_type: str) -> Exception:
    """A plain ``BrokenPipeError``: an ``OSError``, as the ASGI specification 2.4 requires."""
    return BrokenPipeError(32, "Broken pipe")


def _granian_transport(_event_type: str) -> Exception:
    return RuntimeError("ASGI flow error: Transport not initialized or closed")


# The four basic ways to treat a send to a peer that is gone.
SILENT: Final = Personality(name="silent", spec_version="2.3")
"""A send to a peer that is gone returns without an error."""

RAISES_OSERROR: Final = Personality(
    name="raises-oserror", late_send=broken_pipe, notified_send=broken_pipe
)
"""A send raises an ``OSError``, as the ASGI specification 2.4 requires."""

RAISES_RUNTIMEERROR: Final = Personality(
    name="raises-runtimeerror", late_send=unexpected_message, notified_send=unexpected_message
)
"""A ``RuntimeError`` with uvicorn's text."""

FOREIGN_EXCEPTION: Final = Personality(
    name="foreign-exception",
    spec_version="2.3",
    late_send=connection_closed,
    notified_send=connection_closed,
)
"""The exception of a protocol library escapes. It is not an ``OSError``."""

# Real servers. The behaviour was measured with the versions in the docstring.
HYPERCORN_ASYNCIO: Final = Personality(
    name="hypercorn-asyncio",
    spec_version="2.3",
    send_waits_for_queue=True,
    close_code=1006,
    empty_close_code=1006,
    reports_reason=False,
    own_close_code=1000,
    both_payload_keys=True,
)
"""Hypercorn 0.14 to 0.18 with its asyncio or uvloop worker."""

HYPERCORN_TRIO: Final = Personality(
    name="hypercorn-trio",
    spec_version="2.3",
    send_waits_for_queue=True,
    shielded_sends=True,
    close_code=1006,
    empty_close_code=1006,
    reports_reason=False,
    own_close_code=1000,
    both_payload_keys=True,
)
"""Hypercorn 0.14 to 0.18 with its trio worker."""

UVICORN: Final = Personality(
    name="uvicorn",
    late_send=client_disconnected,
    notified_send=client_disconnected,
    loss_code=1005,
    own_close="at once",
    ended_code=None,
    receive_queue=32,
)
"""uvicorn 0.53 and 0.54, ``--ws websockets-sansio`` (the default) and ``--ws wsproto``."""

UVICORN_LEGACY: Final = Personality(
    name="uvicorn-legacy",
    late_send=client_disconnected,
    notified_send=unexpected_message,
    after_disconnect="repeat",
    ended_code=None,
    receive_queue=32,
)
"""uvicorn 0.30 to 0.54, ``--ws websockets`` (the legacy implementation)."""

UVICORN_OLD: Final = Personality(
    name="uvicorn-old",
    spec_version="2.3",
    late_send=connection_closed,
    notified_send=unexpected_message,
    reports_reason=False,
    after_disconnect="repeat",
    extensions=None,
    ended_code=None,
    receive_queue=32,
)
"""uvicorn 0.20 to 0.26, ``--ws websockets``."""

DAPHNE: Final = Personality(
    name="daphne",
    spec_version=None,
    empty_close_code=None,
    reports_reason=False,
    extensions=None,
    receive_queue=None,
    send_queue=None,
)
"""daphne 4.2: no backpressure in either direction."""

GRANIAN: Final = Personality(
    name="granian",
    spec_version="2.3",
    loss_code=1005,
    reports_reason=False,
    own_close="at once",
    own_close_code=1005,
    after_disconnect="repeat",
    close_waits_for_receive=True,
    cancelled_receive_loses=True,
    extensions=("websocket.http.response", "http.response.pathsend"),
    ended_code=1005,
    unanswered_status=403,
)
"""granian 2.8.4 to 2.8.7."""

GRANIAN_OLD: Final = Personality(
    name="granian-old",
    spec_version="2.3",
    late_send=_granian_transport,
    loss_code=1005,
    reports_reason=False,
    own_close="at once",
    own_close_code=1005,
    after_disconnect="repeat",
    close_waits_for_receive=True,
    cancelled_receive_loses=True,
    extensions=("websocket.http.response", "http.response.pathsend"),
    ended_code=1005,
    unanswered_status=403,
)
"""granian 2.5: a send raises until the disconnect event was received, then it does nothing."""

BASIC: Final = (SILENT, RAISES_OSERROR, RAISES_RUNTIMEERROR, FOREIGN_EXCEPTION)
"""The four basic personalities."""

SERVERS: Final = (
    HYPERCORN_ASYNCIO,
    HYPERCORN_TRIO,
    UVICORN,
    UVICORN_LEGACY,
    UVICORN_OLD,
    DAPHNE,
    GRANIAN,
    GRANIAN_OLD,
)
"""Every personality that is named after a real server."""
