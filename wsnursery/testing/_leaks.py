"""Check that no task, cancel scope or message is left behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from ._errors import Leak
from ._faults import pause
from ._peer import Peer

CHECKPOINTS_TO_END = 5
"""Checkpoints that an ending task may still need."""


@asynccontextmanager
async def no_leaks(*peers: Peer) -> AsyncGenerator[None]:
    """Fail if the block leaves a task, a cancel scope or a message behind.

    ::

        async with no_leaks():
            async with connect(app) as client:
                ...

    Args:
        peers: Both sides of these connections must have received all their messages.

    Raises:
        Leak: Something was left behind. Not raised if the block itself raises.
    """
    before = {task.id for task in anyio.get_running_tasks()}
    finished = False
    try:
        with anyio.CancelScope():  # noqa: ASYNC100 - the check is that it can be left
            yield
            finished = True
    except RuntimeError as error:
        if not finished:
            raise
        raise Leak("a cancel scope was entered in the block and not left") from error
    await pause(CHECKPOINTS_TO_END)
    tasks = [task.name for task in anyio.get_running_tasks() if task.id not in before]
    if tasks:
        raise Leak(f"tasks were left running: {', '.join(map(str, tasks))}")
    for peer in peers:
        _check_messages(peer)


def _check_messages(peer: Peer) -> None:
    if peer.unread:
        raise Leak(f"{peer.unread} messages of the peer were never received by the application")
    if peer.pending:
        raise Leak(f"{peer.pending} messages of the application were never received by the peer")
