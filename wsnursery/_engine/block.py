"""Entering and leaving: the life of one ``async with`` block around a connection.

One task group has the body and the children; its cancel scope is ``ws.cancel_scope``. The receiver
and the sender, where there are any, are outside of it: they serve the flush and the close after
everything else has ended, and the block waits for them last.
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

    Entering is no checkpoint and cannot fail half-way. Nothing is raised: what the block is to
    raise is in ``connection.outcome``, so that the exception of the body can go on untouched.
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
            async with anyio.create_task_group() as tasks.group:
                try:
                    with body_scope:
                        yield  # noqa: ASYNC119 - `WebSocket.__aexit__` always goes on
                except BaseException as exc:  # noqa: ASYNC103, BLE001 - `decide` sorts them
                    error = exc
                set_enclosing_tasks(tasks.outer)
                if tasks.group.cancel_scope.cancel_called:
                    # An `asyncio.timeout` or a group of asyncio's that meets this cancellation
                    # replaces it by one of its own, which anyio does not recognise.
                    ledger.note_cancelled()
                stopped = body_scope.cancelled_caught
                if error is not None and ledger.is_our_cancellation(error):
                    error, stopped = None, True
                tasks.finish_body(error, stopped=stopped)
                # A cancellation goes on, through the children's group to wherever it is meant.
                error = _cancellation_in(error)
                if error is None:
                    ledger.settle()
                else:
                    raise error
            # The children keep to themselves that they were cancelled from outside.
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
        # Only an interrupt that hit the group while it was being left comes this way.
        tasks.failures.append(Raised(Raiser.CONNECTION, exc))
    finally:
        connection.stop()
        cancellation = await _wait_until_stopped(  # noqa: ASYNC102 - it is shielded
            connection, cancellation
        )
    # A body that was stopped and ended by a cancellation never ends in silence.
    stopped = stopped or (cancellation is None and error is not None and body_scope.cancel_called)
    connection.outcome = await _outcome(connection, cancellation, meaning, stopped=stopped)
    del cancellation, error, ledger, meaning  # this frame is in their tracebacks


def _meaning(connection: Connection) -> Meaning | None:
    """What the failure of the application means to a framework around it, if it is one alone."""
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
    """Flush and close, unless a framework answers. Body and children have ended."""
    close = None if meaning is None else meaning.close
    if meaning is not None and close is None:
        return
    deadline = anyio.current_time() + connection.options.close_timeout
    try:
        await _close(connection, close, deadline, from_outside=from_outside)
        if not from_outside:
            await connection.incoming.receiver.drained()
    except anyio.get_cancelled_exc_class():
        # Under a shield it is one of asyncio's own. The first drops what is queued, as it does
        # in the body; the second ends everything.
        if not from_outside:
            await _close(connection, close, deadline, from_outside=True)  # noqa: ASYNC102
        raise


async def _close(
    connection: Connection, close: Close | None, deadline: float, *, from_outside: bool
) -> None:
    """Flush, close and wait for the peer's answer, all of it before the deadline."""
    lifecycle, receiver = connection.lifecycle, connection.incoming.receiver
    if lifecycle.end is None:
        if connection.tasks.has_failed:
            code = CloseCode.INTERNAL_ERROR
        elif from_outside:
            code = CloseCode.GOING_AWAY
        else:
            code = CloseCode.NORMAL_CLOSURE
        if from_outside:
            connection.outgoing.drop_messages()
        close = Close(code, "") if close is None else close
        lifecycle.begin_close(close.code, close.reason)
    elif connection.outgoing.sender.is_stopped and receiver.service is None:
        return  # nothing can be sent, and nothing can come any more
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
    """Wait until nothing of the connection runs; return the cancellation that is to go on.

    Under a shield it is one of asyncio's own. The first one is kept until then, because no task may
    be left behind. The second one ends the wait for a server that does not give a raw call back.
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
        # A cancellation from outside that the body has not met yet comes first.
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
