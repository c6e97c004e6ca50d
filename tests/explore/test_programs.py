"""Hypothesis writes the programs: what the handler does, what the peer does, and what fails."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests._nightly import NIGHTLY
from tests.explore.scenarios import Session, converse, judge_exception, judge_farewell, serve
from wsnursery import WebSocket, testing
from wsnursery.testing._explore import _outcome
from wsnursery.testing._plan import RECEIVE_FAULTS, SEND_FAULTS, Action, CallFault, Plan

PROGRAMS = 20_000 if NIGHTLY else 400

OPERATIONS = (
    "send",
    "send_nowait",
    "flush",
    "receive",
    "receive_for_a_moment",
    "child",
    "close",
    "sleep",
    "fail",
)
PEER_OPERATIONS = ("send", "receive", "sleep", "close", "vanish")
ACTIONS = st.builds(
    Action, st.sampled_from(["cancel", "native", "vanish", "close"]), st.integers(1, 60)
)
FAULTS = st.builds(CallFault, st.sampled_from(SEND_FAULTS + RECEIVE_FAULTS), st.integers(1, 6))
PLANS = st.builds(
    Plan,
    st.none() | ACTIONS,
    st.none() | FAULTS,
    st.dictionaries(st.integers(0, 40), st.integers(0, 2), max_size=4),
)


class MyError(Exception):
    """The handler's own."""


async def act(ws: WebSocket, session: Session, operation: str) -> None:
    """One thing that a handler may do."""
    if operation == "send":
        await ws.send("sent")
    elif operation == "send_nowait":
        ws.send_nowait("queued")
    elif operation == "flush":
        await ws.flush()
    elif operation == "receive":
        session.got.append(str(await ws.receive()))
    elif operation == "receive_for_a_moment":
        with anyio.move_on_after(0.1):
            session.got.append(str(await ws.receive()))
    elif operation == "child":
        ws.start_soon(ws.send, "from a child")
    elif operation == "close":
        await ws.close(4000)
    elif operation == "sleep":
        await anyio.sleep(0.5)
    else:
        raise MyError


async def play(peer: testing.Peer, operations: list[str]) -> None:
    """What the peer does; at the end it leaves, whatever the handler waits for."""
    for number, operation in enumerate(operations):
        if operation == "send":
            with anyio.move_on_after(1):
                await peer.send(f"message {number}")
        elif operation == "receive":
            with anyio.move_on_after(1):
                await peer.receive()
        elif operation == "sleep":
            await anyio.sleep(0.5)
        elif operation == "close":
            peer.close(4001)
        else:
            peer.vanish()
    await anyio.sleep(20)
    peer.close()


@pytest.mark.timeout(0 if NIGHTLY else 120)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(
    max_examples=PROGRAMS,
    deadline=None,
    derandomize=not NIGHTLY,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    operations=st.lists(st.sampled_from(OPERATIONS), max_size=6),
    peer_operations=st.lists(st.sampled_from(PEER_OPERATIONS), max_size=5),
    rules=st.sampled_from(testing.BASIC + testing.SERVERS),
    plan=PLANS,
)
def test_programs(backend, operations, peer_operations, rules, plan):
    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        for operation in operations:
            await act(ws, session, operation)

    async def program(run: testing.Run) -> None:
        session = Session(run.server(personality=rules, timeout=100))

        async def talk(peer: testing.Peer) -> None:
            await play(peer, peer_operations)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(converse_quietly, run, session.server, talk)
            await serve(run, session, body)
            tasks.cancel_scope.cancel()
        judge_program(run, session, operations)

    error = _outcome(program, backend, testing.Run(plan, 2))
    assert error is None, error


async def converse_quietly(
    run: testing.Run, server: testing.Server, talk: Callable[[testing.Peer], Awaitable[None]]
) -> None:
    with suppress(testing.ConnectionEnded):  # the handler was quicker
        await converse(run, server, talk)


def judge_program(run: testing.Run, session: Session, operations: list[str]) -> None:
    error = session.error
    leaves = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else [error]
    own = (MyError, anyio.ClosedResourceError)  # the handler's own, or its use after its close
    if not any(isinstance(leaf, own) for leaf in leaves):
        judge_exception(run, session, children="child" in operations, peer_may_be_first=True)
    judge_farewell(run, session)
    got = session.got
    assert got == [str(m) for m in session.server.transcript.received_by_app][: len(got)]
    assert anyio.current_time() < 200
