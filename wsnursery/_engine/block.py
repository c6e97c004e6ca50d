"""Entering and leaving: the life of one ``async with`` block around a connection.

Two task groups, one in the other. The outer one has the connection's own tasks, which serve the
flush and the close after everything else has ended. The inner one has the body and the children;
its cancel scope is ``ws.cancel_scope``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import anyio.lowlevel

from wsnursery._backend.cancellation import is_cancellation
from wsnursery._codes import CloseCode

from .connection import Connection
from .outcome import Failure, Source, decide, leaves
from .stopping import set_lineage


async def running(connection: Connection) -> AsyncGenerator[None]:  # noqa: ASYNC900
    """Run a connection while the body of the block runs: the body is where this yields.

    Entering is no checkpoint and cannot fail half-way. Nothing is raised: what the block is to
    raise is in ``connection.outcome``, so that the exception of the body can go on untouched.
    """
    application = connection.application
    host, body_scope = application.host, application.body.scope
    error: BaseException | None = None
    cancellation: BaseException | None = None
    cut = False
    set_lineage((*application.outer_lineage, application.body))
    try:
        async with anyio.create_task_group() as connection.service_group:
            connection.start()
            try:
                async with anyio.create_task_group() as application.group:
                    try:
                        with body_scope:
                            yield  # noqa: ASYNC119 - `WebSocket.__aexit__` always goes on
                    except BaseException as exc:  # noqa: ASYNC103, BLE001 - `decide` sorts them
                        error = exc
                    set_lineage(application.outer_lineage)
                    cut = body_scope.cancelled_caught
                    if error is not None and host.is_our_cut(error):
                        error, cut = None, True
                    application.finish_body(error, cut=cut)
                    # A cancellation goes on, through the children's group to wherever it is meant.
                    error = _cancellation_in(error)
                    if error is None:
                        host.settle()
                    else:
                        raise error
                # The children keep to themselves that they were cancelled from outside.
                await anyio.lowlevel.checkpoint_if_cancelled()
            except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - it is raised below
                if host.is_our_cut(exc):
                    host.settle()
                else:
                    cancellation = exc
            application.group = None
            if cancellation is None:
                await _leave(connection, from_outside=False)
            else:
                await _leave(connection, from_outside=True)
                raise cancellation
    except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - `decide` sorts them
        cancellation = exc
    except BaseException as exc:  # noqa: ASYNC103, BLE001 - as above
        # Only an interrupt that hit a group while it was leaving comes this way.
        connection.application.failures.append(Failure(Source.CONNECTION, exc))
    # A body that was cut and ended by a cancellation never ends in silence.
    cut = cut or (cancellation is None and error is not None and body_scope.cancel_called)
    connection.outcome = await _outcome(connection, cancellation, cut=cut)
    del cancellation, error, host  # this frame is in their tracebacks


async def _leave(connection: Connection, *, from_outside: bool) -> None:
    """Say goodbye and stop the connection's own tasks. Body and children have ended."""
    deadline = anyio.current_time() + connection.options.close_timeout
    try:
        try:
            await _say_goodbye(connection, deadline, from_outside=from_outside)
            if not from_outside:
                await connection.receiver.drained()
        except anyio.get_cancelled_exc_class():
            # Under a shield it is one of asyncio's own. The first drops what is queued, as it does
            # in the body; the second ends everything.
            if not from_outside:
                await _say_goodbye(connection, deadline, from_outside=True)  # noqa: ASYNC102
            raise
    finally:
        # Whoever still waits is a task of somebody else; it must not wait for nobody.
        connection.give_up()
        await connection.stop()  # noqa: ASYNC102 - it is shielded


async def _say_goodbye(connection: Connection, deadline: float, *, from_outside: bool) -> None:
    """Flush, close and hear the peer out, all of it before the deadline."""
    if connection.end is None:
        if connection.application.has_failed:
            code = CloseCode.INTERNAL_ERROR
        elif from_outside:
            code = CloseCode.GOING_AWAY
        else:
            code = CloseCode.NORMAL_CLOSURE
        if from_outside:
            connection.drop_messages()
        connection.begin_close(code, "")
    closed = False
    with anyio.CancelScope(deadline=deadline, shield=True):
        await connection.close_taken()
        closed = True
        if not from_outside:
            await connection.receiver.answered()
        await connection.receiver.quiet()
    if not closed:
        timeout = connection.options.close_timeout
        connection.break_off(TimeoutError(f"could not flush and close within {timeout} s"))


async def _outcome(
    connection: Connection, cancellation: BaseException | None, *, cut: bool
) -> BaseException | None:
    application, end = connection.application, connection.end
    cause = None if end is None else end.cause
    by_peer = end is not None and not connection.own_close
    lost = connection.lost_unnoticed and not connection.informed
    outcome = decide(
        application.failures,
        cancellation=cancellation,
        own=None if end is None else connection.own_exception(),
        owed=cut or lost,
        noted=by_peer and all(failure.error is not cause for failure in application.failures),
        is_own=application.is_own,
        is_cancellation=is_cancellation,
    )
    if outcome is not None and application.is_own(outcome):
        # A cancellation from outside that nobody has met yet comes first.
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - it is what is raised
            return exc  # noqa: ASYNC104
    return outcome


def _cancellation_in(error: BaseException | None) -> BaseException | None:
    """The cancellation that left the body, bare or in a group (trio puts it beside errors)."""
    for leaf in [] if error is None else leaves(error):
        if is_cancellation(leaf):
            return leaf
    return None
