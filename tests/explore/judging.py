"""What must hold after every random program."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import anyio

from tests.contract._bench import leaves
from tests.explore.facts import Run
from tests.explore.limits import LEAKS
from tests.explore.programs import Bug
from wsnursery import LocalProtocolError, RemoteProtocolError, WebSocketDisconnected

EXPECTED = (
    Bug,
    anyio.EndOfStream,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    LocalProtocolError,
)
"""What a program may raise: its own errors, and calls that it must not make."""


def is_only(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    return all(isinstance(leaf, kinds) for leaf in leaves(error))


def problems_of(run: Run) -> Iterator[str]:
    try:
        yield from _judge_counts(run)
    except Exception as exc:  # noqa: BLE001 - facts must stay readable
        yield f"the facts cannot be read: {exc!r}"
    yield from _judge_outcome(run)
    if run.interrupted:
        return  # on asyncio it stops the loop at once
    yield from _judge_requests(run)
    told = (*EXPECTED, WebSocketDisconnected)
    for error in run.strange:
        if not isinstance(error, told) and not _is_of_server(run, error):
            yield f"another task's call raised {error!r}"
    yield from _judge_wire(run)


def _judge_counts(run: Run) -> Iterator[str]:
    statistics = run.ws.statistics()
    if min(statistics.send_buffer_used, statistics.receive_buffer_used) < 0:
        yield f"a count is negative: {statistics}"
    if run.interrupted:
        return
    if statistics.send_buffer_used or statistics.receive_buffer_used:
        yield f"messages are left: {statistics}"
    if statistics.tasks_waiting_send:
        yield f"calls are counted as waiting: {statistics}"
    if run.ws.state != "closed":
        yield f"the state is {run.ws.state}"


def _is_of_server(run: Run, error: BaseException) -> bool:
    """Whether it is what the program lets a raw call raise."""
    kinds = {kind for kind, _ in run.program.faults}
    return (isinstance(error, RemoteProtocolError) and "garbage" in kinds) or (
        isinstance(error, asyncio.CancelledError) and "foreign cancellation" in kinds
    )


def _judge_outcome(run: Run) -> Iterator[str]:
    error = run.left_with
    if error is None or type(error) is WebSocketDisconnected:
        return
    for leaf in leaves(error):
        if isinstance(leaf, KeyboardInterrupt) and run.interrupted:
            continue
        if isinstance(leaf, asyncio.CancelledError):
            known = run.native or run.interrupted or run.strays or _is_of_server(run, leaf)
            if not (known or _is_not_recognised(run)):
                yield f"a cancellation left the block, and no code had requested it: {error!r}"
        elif isinstance(leaf, WebSocketDisconnected):
            yield f"the disconnect left the block in a group: {error!r}"
        elif isinstance(leaf, RuntimeError) and "is shutting down" in str(leaf):
            continue  # an eager task of an asyncio group has failed before the next was created
        elif not isinstance(leaf, EXPECTED) and not _is_of_server(run, leaf):
            yield f"the block raised {error!r}"


def _is_not_recognised(run: Run) -> bool:
    """Whether asyncio's own tools have made a scope of anyio's let its own cancellation out.

    One around the block (X5: what comes from outside goes on unchanged), or one in the program.
    Neither is the connection's, which must recognise its own cancellation in any case.
    """
    by_scope = run.cancelled or run.scopes_let_out > 0
    if run.left_behind or run.asked_anew:
        return by_scope or run.timeouts_let_out > 0
    return run.timeouts_let_out > 0 and by_scope


def _judge_requests(run: Run) -> Iterator[str]:
    """`Task.cancelling` says after the block how often the handler was cancelled natively."""
    if run.counted is None:
        return
    allowed = set(range(run.native - run.handed_over, run.native + run.left_behind + 1))
    if LEAKS:
        # A request that a group has left behind looks like one that the body has swallowed: both
        # are but a number of the task's, and nothing says who has asked. A block that no
        # cancellation leaves takes both back, because one that is left behind makes the scopes
        # of anyio's fail that are around the block.
        taken_back = {run.native - run.native_in_body}
        allowed = allowed | taken_back if run.body_cancelled else taken_back
    if run.counted not in allowed:
        yield f"cancelling() is {run.counted} after {run.native} native cancellations"


def _judge_wire(run: Run) -> Iterator[str]:
    transcript = run.server.transcript
    foreign = any(kind == "foreign cancellation" for kind, _ in run.program.faults)
    for violation in transcript.violations:
        if not foreign or "cancelled" not in violation:
            yield violation
    closes = [line for line in transcript.lines if line.startswith(("app close", "app deny"))]
    if len(closes) > 1:
        yield f"it was closed twice: {closes}"
    messages = transcript.from_app
    if len(set(messages)) < len(messages):
        yield f"a message came twice: {messages}"
