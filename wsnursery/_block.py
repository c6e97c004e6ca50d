"""Entering and leaving: the life of one ``async with`` block around a connection.

Two task groups, one in the other. The outer one has the connection's own tasks, which serve the
flush and the close after everything else has ended. The inner one has the body and the children;
its cancel scope is ``ws.cancel_scope``.
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
    host = connection.host
    error: BaseException | None = None
    cancellation: BaseException | None = None
    cut = False
    try:
        async with create_task_group() as connection.services.group:
            connection.services.start()
            try:
                async with create_task_group() as connection.group:
                    try:
                        with connection.body.scope:
                            yield value
                    except BaseException as exc:  # noqa: BLE001 - `decide` sorts them
                        error = exc
                    cut = connection.body.scope.cancelled_caught
                    if error is not None and host.is_our_cut(error):
                        error, cut = None, True
                    leave_lineage(lineage)
                    connection.finish_body(error)
                    # A cancellation goes on, through the children's group to wherever it is meant.
                    error = _cancellation_in(error)
                    if error is not None:
                        raise error
            except get_cancelled_exc_class() as exc:
                cancellation = exc
            await _leave(connection, from_outside=cancellation is not None)
            if cancellation is not None:
                raise cancellation
    except get_cancelled_exc_class() as exc:
        cancellation = exc
    except BaseException as exc:  # noqa: BLE001 - `decide` sorts them
        # Only an interrupt that hit a group while it was leaving comes this way.
        connection.failures.append(Failure(Source.CONNECTION, exc))
    if cancellation is None:
        host.settle()
    outcome = await _outcome(connection, cancellation, cut=cut)
    connection.release()
    del cancellation, error, host  # this frame is in their tracebacks
    if outcome is not None:
        # What the body raised is being handled around us; it is not the context of what leaves.
        context = outcome.__context__
        try:
            raise outcome
        finally:
            outcome.__context__ = context
            del outcome, context


async def _leave(connection: Connection, *, from_outside: bool) -> None:
    """Say goodbye and stop the connection's own tasks. Body and children have ended."""
    try:
        await _say_goodbye(connection, from_outside=from_outside)
    finally:
        # Whoever still waits is a task of somebody else; it must not wait for nobody.
        connection.give_up()
        with CancelScope(shield=True):
            await connection.services.stop()


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
            connection.drop_messages()
        connection.begin_close(code, "")
    timeout = connection.options.close_timeout
    services = connection.services
    closed = False
    with move_on_after(timeout, shield=True):
        await connection.close_taken()
        closed = True
        if not from_outside:
            await services.answered()
        await services.quiet()
    if not closed:
        connection.break_off(TimeoutError(f"could not flush and close within {timeout} s"))


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
