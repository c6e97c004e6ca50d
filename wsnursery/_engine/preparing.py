"""What must happen before the server is given the answer to a handshake, or a close."""

from __future__ import annotations

from wsnursery._backend.backend import Backend

from .events import Close, Outgoing
from .lifecycle import Lifecycle
from .states import State, Transition
from .transport import Transport
from .wire import CHECKPOINTS_FOR_CAUSE

CHECKPOINTS_BEFORE_ANSWER = 5
"""Checkpoints between the server's ``connect`` and our answer to it.

Hypercorn's trio worker crashes when data that came in the same packet as the handshake meets an
answer that is already under way; 3 checkpoints let it finish reading first, 5 leave a margin."""

HANDSHAKE = {State.ACCEPTING, State.REJECTED}
"""The states in which what is sent answers the handshake."""


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
    if states.state is State.CLOSED:  # the receiver heard the end meanwhile
        return False
    if states.state is State.CLOSING:
        # From now on the code is said: whatever the server reports later does not replace it.
        states.apply(Transition.CLOSE, (event.code, event.reason))
    return True
