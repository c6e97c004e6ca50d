"""What an exception of a raw send means: the peer is gone, or the server or the call is wrong."""

from __future__ import annotations

from wsnursery._backend.backend import Backend

from .lifecycle import Lifecycle
from .transport import Transport
from .wire import CHECKPOINTS_FOR_CAUSE


async def peer_is_gone(
    exc: Exception, lifecycle: Lifecycle, transport: Transport, backend: Backend, *, strict: bool
) -> bool:
    """Whether the exception means that the peer is gone. A disconnect may arrive meanwhile.

    Args:
        exc: What the raw send has raised.
        lifecycle: Knows whether the connection has ended.
        transport: Knows the exceptions of its server.
        backend: The event loop.
        strict: Whether only an `OSError` does, as ASGI says.
    """
    wire = lifecycle.wire
    certain = isinstance(exc, OSError)
    if strict and not certain:
        return False
    # Give a disconnect that is on its way the chance to be heard first: it has the code.
    wire.pending_error = exc
    try:
        for _ in range(CHECKPOINTS_FOR_CAUSE):
            # Again each time, because a receiver task that is being cancelled takes nothing.
            wire.control.look_for_disconnect()
            if lifecycle.end is not None or not (wire.receiving or wire.held):
                break
            await backend.checkpoint()
    finally:
        wire.pending_error = None
    return certain or lifecycle.end is not None or transport.says_gone(exc)
