"""Decides what an exception of a raw send means: a lost peer, or an error of the server or call."""

from __future__ import annotations

from wsnursery._backend.backend import Backend

from .lifecycle import Lifecycle
from .transport import Transport
from .wire import CHECKPOINTS_FOR_CAUSE


async def peer_is_gone(
    exc: Exception, lifecycle: Lifecycle, transport: Transport, backend: Backend, *, strict: bool
) -> bool:
    """Return whether the exception means that the peer is gone, and end the connection then.

    A disconnect may arrive meanwhile. *Cancellation*: an `OSError` has ended the connection too.

    Args:
        exc: The exception of the raw send.
        lifecycle: Knows whether the connection has ended.
        transport: Knows the exceptions of its server.
        backend: The event loop.
        strict: Whether only an `OSError` means that, as the ASGI specification says.
    """
    wire, gone = lifecycle.wire, isinstance(exc, OSError)
    if strict and not gone:
        return False
    # Let the receiver get a pending disconnect first, because it has the close code.
    wire.pending_error = exc
    try:
        for _ in range(CHECKPOINTS_FOR_CAUSE):
            # Repeat this each time, because a receiver task that is being cancelled takes no event.
            wire.control.look_for_disconnect()
            if lifecycle.end is not None or not (wire.receiving or wire.held):
                break
            await backend.checkpoint()
        gone = gone or lifecycle.end is not None or transport.says_gone(exc)
    finally:
        wire.pending_error = None
        if gone:
            wire.sending = False  # before the end, which aborts a raw send that is in flight
            lifecycle.end_abnormally(exc)
    return gone
