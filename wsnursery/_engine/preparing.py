"""The steps before an answer to a handshake, or a close, is given to the server."""

from __future__ import annotations

from wsnursery._backend.backend import Backend

from .events import Close, Outgoing
from .lifecycle import Lifecycle
from .states import State, Transition
from .transport import Transport
from .wire import CHECKPOINTS_FOR_CAUSE

CHECKPOINTS_BEFORE_ANSWER = 5
"""Checkpoints between the server's ``connect`` event and our answer.

Hypercorn's trio worker crashes if the application answers before the worker has read the data that
came in the packet of the handshake. It needs 3 checkpoints for that, and 5 leave a margin."""

HANDSHAKE = {State.ACCEPTING, State.REJECTED}
"""The states in which an event that is sent answers the handshake."""


async def prepare(
    event: Outgoing, lifecycle: Lifecycle, transport: Transport, backend: Backend
) -> bool:
    """Prepare a handshake answer or a close; return `False` if it is no longer needed."""
    if lifecycle.states.state in HANDSHAKE:
        for _ in range(CHECKPOINTS_BEFORE_ANSWER):
            await backend.checkpoint()
    return not isinstance(event, Close) or await _prepare_close(
        event, lifecycle, transport, backend
    )


async def _prepare_close(
    event: Close, lifecycle: Lifecycle, transport: Transport, backend: Backend
) -> bool:
    states, wire = lifecycle.states, lifecycle.wire
    if transport.receive_blocks_close:
        wire.control.stop()
        for _ in range(CHECKPOINTS_FOR_CAUSE):
            if wire.receiving:
                await backend.checkpoint()
    if states.state is State.CLOSED:  # the receiver got the disconnect meanwhile
        return False
    if states.state is State.CLOSING:
        # From now on this code counts: a code that the server reports later does not replace it.
        states.apply(Transition.CLOSE, (event.code, event.reason))
    return True
