"""Entering and leaving the ``async with`` block of a connection.

One task group has the body and the children; its cancel scope is ``ws.cancel_scope``. The receiver
task and the sender task are outside of that group, because the flush and the close need them after
body and children have ended. The block waits for them last.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import anyio.lowlevel

from wsnursery._backend.cancellation import is_cancellation, is_native
from wsnursery._codes import CloseCode

from .connection import Connection
from .events import Close
from .meaning import Meaning
from .outcome import Raised, Raiser, decide, leaves
from .user_task import set_enclosing_tasks


async def running(connection: Connection) -> AsyncGenerator[None]:  # noqa: ASYNC900
    """Run a connection while the body of the block runs: the body is where this yields.

    Entering is not a checkpoint and cannot fail half-way. This function raises nothing: it puts
    what the block must raise into ``connection.outcome``, so that an exception of the body can
    leave unchanged.
    """
    tasks = connection.tasks
    ledger, body_scope = tasks.ledger, tasks.body.scope
    error: BaseException | None = None
    cancellation: BaseException | None = None
    stopped = False
    meaning: Meaning | None = None
    set_enclosing_tasks((*tasks.outer, tasks.body))
    connection.start()
    try:
        try:
            async with ledger.watch(anyio.create_task_group()) as tasks.group:
                try:
                    with body_scope:
                        yield  # noqa: ASYNC119 - `WebSocket.__aexit__` always goes on
                except BaseException as exc:  # noqa: ASYNC103, BLE001 - `decide` sorts them
                    error = exc
                set_enclosing_tasks(tasks.outer)
                stopped = body_scope.cancelled_caught
                if error is not None and ledger.is_our_cancellation(error):
                    error, stopped = None, True
                tasks.finish_body(error, stopped=stopped)
                # Pass a cancellation on, through the children's group, to the scope that requested
                # it.
                error = _cancellation_in(error)
                if error is None:
                    ledger.settle()
                else:
                    ledger.unwatch(tasks.group)
                    raise error
            # A task group does not report that its children were cancelled from outside.
            await anyio.lowlevel.checkpoint_if_cancelled()
        except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - it is raised below
            if ledger.is_our_cancellation(exc):
                ledger.settle()
            else:
                cancellation = exc
        tasks.group = None
        meaning = _meaning(connection)
        await _leave(connection, meaning, from_outside=cancellation is not None)
    except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - `decide` sorts them
        cancellation = exc
    except BaseException as exc:  # noqa: ASYNC103, BLE001 - as above
        # Only an interrupt (Ctrl-C, SystemExit) during the exit of the group gets here.
        tasks.failures.append(Raised(Raiser.CONNECTION, exc))
    finally:
        connection.stop()
        cancellation = await _wait_until_stopped(  # noqa: ASYNC102 - it is shielded
            connection, cancellation
        )
    # If the connection stopped the body, and that ended it, the block must raise.
    stopped = stopped or (cancellation is None and error is not None and body_scope.cancel_called)
    connection.outcome = await _outcome(connection, cancellation, meaning, stopped=stopped)
    del cancellation, error, ledger, meaning  # this frame is in their tracebacks


def _meaning(connection: Connection) -> Meaning | None:
    """What the failure of the application means to a framework, if there is exactly one."""
    tasks = connection.tasks
    failed = [
        leaf
        for failure in tasks.failures
        for leaf in leaves(failure.error)
        if tasks.is_failure(leaf)
    ]
    if len(failed) != 1:
        return None
    return connection.interpret(failed[0], connection.lifecycle.states.state)


async def _leave(connection: Connection, meaning: Meaning | None, *, from_outside: bool) -> None:
    """Flush and close, unless a framework answers the handshake. Body and children have ended."""
    close = None if meaning is None else meaning.close
    if meaning is not None and close is None:
        return
    deadline = anyio.current_time() + connection.options.close_timeout
    try:
        await _close(connection, close, deadline, from_outside=from_outside)
        if not from_outside:
            # Hypercorn leaks a task and a descriptor if events stay in its queue; see `aftercare`.
            await connection.incoming.receiver.drained()
    except anyio.get_cancelled_exc_class():
        # A shield keeps out every cancellation but asyncio's native ones. The first of these drops
        # the queue, as in the body. The second one ends everything.
        if not from_outside:
            await _close(connection, close, deadline, from_outside=True)  # noqa: ASYNC102
        raise


async def _close(
    connection: Connection, close: Close | None, deadline: float, *, from_outside: bool
) -> None:
    """Flush, close and wait for the peer's answer, all before the deadline."""
    lifecycle, receiver = connection.lifecycle, connection.incoming.receiver
    if lifecycle.end is None:
        if connection.tasks.has_failed:
            code = CloseCode.INTERNAL_ERROR
        elif from_outside:
            code = CloseCode.GOING_AWAY
        else:
            code = CloseCode.NORMAL_CLOSURE
        if from_outside:
            # Do not flush (X5): a server that cancels the application is about to end the process.
            connection.outgoing.drop_messages()
        close = Close(code, "") if close is None else close
        lifecycle.begin_close(close.code, close.reason)
    elif connection.outgoing.sender.is_stopped and receiver.service is None:
        return  # no more messages can be exchanged
    closed = False
    with anyio.CancelScope(deadline=deadline, shield=True):
        await connection.outgoing.close_taken()
        closed = True
        if not from_outside:
            await receiver.answered()
        await receiver.quiet()
    if not closed:
        timeout = connection.options.close_timeout
        lifecycle.end_abnormally(TimeoutError(f"could not flush and close within {timeout} s"))


async def _wait_until_stopped(
    connection: Connection, cancellation: BaseException | None
) -> BaseException | None:
    """Wait until no task of the connection runs. Return the cancellation that must continue.

    Under a shield it can only be a native one of asyncio. The first one is kept until the wait is
    over, because no task may be left behind. The second one ends the wait for a server whose raw
    call does not return.
    """
    patience = 1 if cancellation is not None and is_native(cancellation) else 2
    for _ in range(patience):
        try:
            await connection.stopped()
        except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - `decide` sorts them
            cancellation = exc
        else:
            break
    return cancellation


async def _outcome(
    connection: Connection,
    cancellation: BaseException | None,
    meaning: Meaning | None,
    *,
    stopped: bool,
) -> BaseException | None:
    tasks, lifecycle = connection.tasks, connection.lifecycle
    end = lifecycle.end
    cause = None if end is None else end.cause
    by_peer = end is not None and not lifecycle.own_close
    lost = lifecycle.lost_unnoticed and not lifecycle.informed
    outcome = decide(
        tasks.failures,
        cancellation=cancellation,
        own=None if end is None else lifecycle.own_exception,
        owed=stopped or lost,
        noted=by_peer and all(failure.error is not cause for failure in tasks.failures),
        is_own=tasks.is_own,
        is_cancellation=is_cancellation,
    )
    if outcome is not None and meaning is not None and leaves(outcome) == [meaning.failure]:
        return meaning.error
    if outcome is not None and tasks.is_own(outcome):
        # A cancellation from outside takes precedence, even if it has not reached the body yet.
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - it is what is raised
            return exc  # noqa: ASYNC104
    return outcome


def _cancellation_in(error: BaseException | None) -> BaseException | None:
    """The cancellation that left the body, bare or in a group (trio groups it with errors)."""
    for leaf in [] if error is None else leaves(error):
        if is_cancellation(leaf):
            return leaf
    return None
