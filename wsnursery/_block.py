"""Entering and leaving: the life of one ``async with`` block around a connection.

The body and the children run in one task group, whose cancel scope is ``ws.cancel_scope``. The
connection's own tasks run in the same group, each shielded, so that they serve the flush and the
close after everything else has been cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import CancelScope, create_task_group, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import checkpoint_if_cancelled

from ._codes import CloseCode
from ._connection import Connection
from ._outcome import Failure, Source, decide, leaves
from ._tasks import enter_lineage, leave_lineage

T = TypeVar("T")


@asynccontextmanager
async def running(connection: Connection, value: T) -> AsyncGenerator[T]:
    """Run a connection while the body of the block runs; raise what `_outcome.decide` says.

    Entering is no checkpoint and cannot fail half-way. ``value`` is what the block's ``as`` gets.
    """
    lineage = enter_lineage(connection.body)
    error: BaseException | None = None
    cancellation: BaseException | None = None
    cut = False
    host = connection.host
    try:
        async with create_task_group() as connection.group:
            connection.services.start()
            try:
                with connection.body.scope:
                    yield value
            except BaseException as exc:  # noqa: BLE001 - `_outcome` decides about it
                error = exc
            cut = connection.body.scope.cancelled_caught
            if error is not None and host.is_our_cut(error):
                error, cut = None, True
            leave_lineage(lineage)
            error = await _leave(connection, error)
            if error is not None:
                raise error
    except get_cancelled_exc_class() as exc:
        cancellation = exc
    except BaseException as exc:  # noqa: BLE001 - `_outcome` decides about it
        # Only an interrupt that hit the group while it was leaving comes this way.
        connection.failures.append(Failure(Source.CONNECTION, exc))
    if cancellation is None:
        host.settle()
    outcome = await _outcome(connection, cancellation, cut=cut)
    connection.release()
    del cancellation, error, host
    if outcome is not None:
        # What the body raised is being handled around us; it is not the context of what leaves.
        context = outcome.__context__
        try:
            raise outcome
        finally:
            outcome.__context__ = context
            del outcome, context


async def _leave(connection: Connection, error: BaseException | None) -> BaseException | None:
    """Wait for the children, say goodbye, stop the services.

    Args:
        connection: The connection whose body has been left.
        error: What the body raised.

    Returns:
        The cancellation that goes on when everything is done, if there is one.
    """
    group = connection.group
    assert group is not None
    from_outside = False
    cancellation = _cancellation_in(error)
    if cancellation is not None:
        from_outside = not group.cancel_scope.cancel_called
    if error is not None:
        connection.failures.append(Failure(Source.BODY, error))
    if cancellation is not None or (error is not None and connection.is_failure(error)):
        # Like a nursery. A native cancellation of asyncio has reached the body alone.
        group.cancel_scope.cancel()
    connection.finish_body()
    try:
        try:
            await connection.wait_for_children()
        except get_cancelled_exc_class() as exc:
            cancellation = exc
            from_outside = from_outside or not group.cancel_scope.cancel_called
            group.cancel_scope.cancel()
            with CancelScope(shield=True):
                await connection.wait_for_children()
        await _say_goodbye(connection, from_outside=from_outside)
    finally:
        with CancelScope(shield=True):
            await connection.services.stop()
    return cancellation


async def _say_goodbye(connection: Connection, *, from_outside: bool) -> None:
    """Flush, close and hear the peer out, all of it within ``close_timeout``."""
    if connection.end is None:
        if any(connection.is_failure(failure.error) for failure in connection.failures):
            code = CloseCode.INTERNAL_ERROR
        elif from_outside:
            code = CloseCode.GOING_AWAY
        else:
            code = CloseCode.NORMAL_CLOSURE
        if from_outside:
            connection.drop_outbox()
        connection.begin_close(code, "")
    timeout = connection.options.close_timeout
    services = connection.services
    with move_on_after(timeout, shield=True):
        if not await connection.closed_within(timeout):
            connection.break_off(TimeoutError(f"could not flush and close within {timeout} s"))
        elif not from_outside:
            await services.answered()
        await services.quiet()


async def _outcome(
    connection: Connection, cancellation: BaseException | None, *, cut: bool
) -> BaseException | None:
    is_cancellation = get_cancelled_exc_class()
    lost = connection.lost_unnoticed and not connection.informed
    outcome = decide(
        connection.failures,
        cancellation=cancellation,
        own=None if connection.end is None else connection.own_exception(),
        owed=cut or lost,
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
