"""Entering and leaving: the life of one ``async with`` block around a connection.

Two task groups, one in the other. The outer one has the connection's own tasks, which serve the
flush and the close after everything else has ended. The inner one has the body and the children;
its cancel scope is ``ws.cancel_scope``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from anyio import CancelScope, create_task_group, current_time, get_cancelled_exc_class
from anyio.lowlevel import checkpoint_if_cancelled

from ._codes import CloseCode
from ._connection import Connection
from ._outcome import Failure, Source, decide, leaves
from ._tasks import set_lineage


async def running(connection: Connection) -> AsyncGenerator[None]:
    """Run a connection while the body of the block runs: the body is where this yields.

    Entering is no checkpoint and cannot fail half-way. Nothing is raised: what the block is to
    raise is in ``connection.outcome``, so that the exception of the body can go on untouched.
    """
    host = connection.host
    error: BaseException | None = None
    cancellation: BaseException | None = None
    cut = False
    set_lineage((*connection.outer_lineage, connection.body))
    try:
        async with create_task_group() as connection.services.group:
            connection.services.start()
            try:
                async with create_task_group() as connection.group:
                    try:
                        with connection.body.scope:
                            yield
                    except BaseException as exc:  # noqa: BLE001 - `decide` sorts them
                        error = exc
                    set_lineage(connection.outer_lineage)
                    cut = connection.body.scope.cancelled_caught
                    if error is not None and host.is_our_cut(error):
                        error, cut = None, True
                    connection.finish_body(error)
                    # A cancellation goes on, through the children's group to wherever it is meant.
                    error = _cancellation_in(error)
                    if error is None:
                        host.settle()
                    else:
                        raise error
                connection.group = None
                # The children keep to themselves that they were cancelled from outside.
                await checkpoint_if_cancelled()
            except get_cancelled_exc_class() as exc:
                if host.is_our_cut(exc):
                    host.settle()
                else:
                    cancellation = exc
            await _leave(connection, from_outside=cancellation is not None)
            if cancellation is not None:
                raise cancellation
    except get_cancelled_exc_class() as exc:
        cancellation = exc
    except BaseException as exc:  # noqa: BLE001 - `decide` sorts them
        # Only an interrupt that hit a group while it was leaving comes this way.
        connection.failures.append(Failure(Source.CONNECTION, exc))
    if cancellation is None and error is not None and connection.body.scope.cancel_called:
        cut = True
    connection.outcome = await _outcome(connection, cancellation, cut=cut)
    del cancellation, error, host  # this frame is in their tracebacks


async def _leave(connection: Connection, *, from_outside: bool) -> None:
    """Say goodbye and stop the connection's own tasks. Body and children have ended."""
    deadline = current_time() + connection.options.close_timeout
    try:
        try:
            await _say_goodbye(connection, deadline, from_outside=from_outside)
        except get_cancelled_exc_class():
            # Under a shield it is one of asyncio's own. The first drops what is queued, as it does
            # in the body; the second ends everything.
            if not from_outside:
                await _say_goodbye(connection, deadline, from_outside=True)
            raise
    finally:
        # Whoever still waits is a task of somebody else; it must not wait for nobody.
        connection.give_up()
        with CancelScope(shield=True):
            await connection.services.stop()


async def _say_goodbye(connection: Connection, deadline: float, *, from_outside: bool) -> None:
    """Flush, close and hear the peer out, all of it before the deadline."""
    if connection.end is None:
        if any(connection.is_failure(failure.error) for failure in connection.failures):
            code = CloseCode.INTERNAL_ERROR
        elif from_outside:
            code = CloseCode.GOING_AWAY
        else:
            code = CloseCode.NORMAL_CLOSURE
        if from_outside:
            connection.drop_messages()
        connection.begin_close(code, "")
    services = connection.services
    closed = False
    with CancelScope(deadline=deadline, shield=True):
        await connection.close_taken()
        closed = True
        if not from_outside:
            await services.answered()
        await services.quiet()
    if not closed:
        timeout = connection.options.close_timeout
        connection.break_off(TimeoutError(f"could not flush and close within {timeout} s"))


async def _outcome(
    connection: Connection, cancellation: BaseException | None, *, cut: bool
) -> BaseException | None:
    is_cancellation = get_cancelled_exc_class()
    lost = connection.lost_unnoticed and not connection.informed
    cause = None if connection.end is None else connection.end.cause
    blamed = any(failure.error is cause for failure in connection.failures)
    outcome = decide(
        connection.failures,
        cancellation=cancellation,
        own=None if connection.end is None else connection.own_exception(),
        owed=cut or lost,
        noted=connection.end is not None and not connection.own_close and not blamed,
        is_own=connection.is_own,
        is_cancellation=lambda exc: isinstance(exc, is_cancellation),
    )
    if outcome is not None and connection.is_own(outcome):
        # A cancellation from outside that nobody has met yet comes first.
        try:
            await checkpoint_if_cancelled()
        except is_cancellation as exc:
            return exc
    return outcome


def _cancellation_in(error: BaseException | None) -> BaseException | None:
    """The cancellation that left the body, bare or in a group (trio puts it beside errors)."""
    is_cancellation = get_cancelled_exc_class()
    for leaf in [] if error is None else leaves(error):
        if isinstance(leaf, is_cancellation):
            return leaf
    return None
