"""Our scenarios for exploration, and the judge of every run.

A scenario is a handler, or several, with a peer for each connection. What must hold whatever is
injected is in `judge`; what must happen when nothing is, in the scenarios.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio

from wsnursery import (
    Options,
    RemoteProtocolError,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
)
from wsnursery.testing import (
    HYPERCORN_ASYNCIO,
    SILENT,
    ConnectionEnded,
    Delay,
    InjectedBug,
    Peer,
    Personality,
    Run,
    Server,
)

TARGET_ACTIONS = {"cancel", "native"}

GONE = {"oserror", "gone", "stall", "lost", "raises"}
"""The faults after which the connection is over."""

LONGEST = 120.0
"""Virtual seconds that a run may take: send_timeout, grace_period and close_timeout, and more."""


@dataclass
class Session:
    """What happened to one connection, as the application saw it."""

    server: Server
    got: list[str] = field(default_factory=list)
    """What the handler received."""
    sent: list[str] = field(default_factory=list)
    """What the handler wanted to send, in order, where there is one order."""
    finished: bool = False
    """The body ended by itself."""
    cancelled: bool = False
    """A cancellation left the block."""
    error: BaseException | None = None
    """What the block raised otherwise."""
    ws: WebSocket | None = None


Body = Callable[[WebSocket, Session], Awaitable[None]]
Talk = Callable[[Peer], Awaitable[None]]


async def serve(run: Run, session: Session, body: Body, **options: Any) -> None:
    """Run one block as an ASGI application would, as the target of the exploration."""
    server = session.server
    async with run.target() as target:
        try:
            async with open_websocket(
                server.scope, server.receive, server.send, options=Options(**options)
            ) as session.ws:
                await body(session.ws, session)
                session.finished = True
        except anyio.get_cancelled_exc_class():
            session.cancelled = True
            raise
        except BaseExceptionGroup as group:
            session.error = group
            if group.split(Exception)[1] is not None:
                raise
        except Exception as error:  # noqa: BLE001 - it is judged later
            session.error = error
    assert session.cancelled == target.cancelled_caught
    server.app_ended(session.error)


async def converse(run: Run, server: Server, talk: Talk) -> None:
    """Play the peer. An injected fault may interrupt it."""
    try:
        await talk(server.peer)
    except ConnectionEnded:
        if run.quiet:
            raise


async def play(
    run: Run,
    body: Body,
    talk: Talk,
    *,
    personality: Personality,
    send_queue: int | None = None,
    delay: int = 0,
    **options: Any,
) -> Session:
    """One connection: its handler and its peer."""
    server = run.server(
        personality=personality, send_queue=send_queue, timeout=LONGEST, faults=[Delay(delay)]
    )
    session = Session(server)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(converse, run, session.server, talk)
        await serve(run, session, body, **options)
    return session


def is_prefix(part: list[str], whole: list[str]) -> bool:
    return whole[: len(part)] == part


def judge(
    run: Run, session: Session, *, children: bool = False, peer_may_be_first: bool = False
) -> None:
    """What must hold for every connection, whatever was injected.

    Args:
        run: The run.
        session: The connection.
        children: The handler has children that send.
        peer_may_be_first: The peer may close before the handler has done its part.
    """
    judge_exception(run, session, children=children, peer_may_be_first=peer_may_be_first)
    judge_messages(run, session)
    judge_farewell(run, session)
    judge_facts(session)
    assert anyio.current_time() <= LONGEST
    assert session.ws is not None
    assert session.ws.statistics().receive_buffer_used == 0
    assert session.ws.statistics().send_buffer_used == 0
    assert session.ws.statistics().tasks_waiting_send == 0


def judge_exception(run: Run, session: Session, *, children: bool, peer_may_be_first: bool) -> None:
    error, plan = session.error, run.plan
    fault = None if plan.fault is None else plan.fault.kind
    cancelled = plan.action is not None and plan.action.kind in {"cancel", "native"}
    gone = fault in GONE or peer_may_be_first or (plan.action is not None and not cancelled)
    if isinstance(error, BaseExceptionGroup):
        assert children
        assert fault == "error"
        assert all(isinstance(leaf, InjectedBug) for leaf in error.exceptions)
    elif isinstance(error, InjectedBug):
        assert fault == "error"
    elif isinstance(error, RemoteProtocolError):
        assert fault == "garbage"
    elif error is not None:
        assert isinstance(error, WebSocketDisconnected), repr(error)
        assert gone, "disconnected, although no connection had ended"
        if fault in {"oserror", "gone"} and plan.action is None:
            assert error.__cause__ is run.injected
    if session.cancelled:
        assert cancelled
    elif error is None:
        assert session.finished
    if run.quiet and not peer_may_be_first:
        assert session.finished
        assert error is None


def judge_messages(run: Run, session: Session) -> None:
    transcript = session.server.transcript
    assert is_prefix(session.got, [str(m) for m in transcript.from_peer])
    if session.sent:
        assert is_prefix([str(m) for m in transcript.from_app], session.sent)


def judge_farewell(run: Run, session: Session) -> None:
    """An open connection is always closed, none is closed twice, and none is used after its end."""
    lines = session.server.transcript.lines
    closes = [line for line in lines if line.startswith(("app close", "app deny"))]
    assert len(closes) <= 1
    assert not [line for line in lines if "after the disconnect event" in line]
    failed = [at for at, line in enumerate(lines) if "raised InjectedError" in line]
    if failed:
        after = [line for line in lines[failed[0] + 1 :] if line.startswith("app")]
        assert not [line for line in after if line.startswith(("app send", "app close"))], after
    stalled = run.plan.fault is not None and run.plan.fault.kind == "stall"
    if not (closes or stalled or any(ends_it(line) for line in lines)):
        raise AssertionError("left without a farewell")


def ends_it(line: str) -> bool:
    """Whether nothing needs to be sent after what this line of the transcript says."""
    raised = line.startswith("app fail") and " raised " in line
    return raised or line.startswith(("app late", "peer close", "peer vanish"))


def judge_facts(session: Session) -> None:
    """The first side that closes decides the code and the reason of the end."""
    spoken = [
        entry.code
        for entry in session.server.transcript
        if entry.party == "app" and entry.verb in {"close", "disconnect"}
    ]
    assert session.ws is not None
    if len(spoken) > 1:
        assert session.ws.close_code == spoken[0]


def must_be_complete(run: Run, session: Session) -> bool:
    """Nothing interrupted it, so all of it must have happened."""
    if run.quiet:
        return True
    if run.plan.fault is not None or run.plan.action is None:
        return False
    return run.plan.action.kind in TARGET_ACTIONS and not session.cancelled


# ------------------------------------------------------------------------------- the scenarios


async def echo(run: Run, personality: Personality = SILENT) -> None:
    """Every message is echoed."""

    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        async for message in ws:
            session.got.append(str(message))
            session.sent.append(str(message))
            await ws.send(message)

    async def talk(peer: Peer) -> None:
        for message in "abc":
            await peer.send(message)
            assert await peer.receive() == message
        peer.close()

    session = await play(run, body, talk, personality=personality)
    judge(run, session)
    if must_be_complete(run, session):
        assert session.got == ["a", "b", "c"]


async def slow_server(run: Run, personality: Personality = SILENT) -> None:
    """The same on a server that takes its time for every call."""

    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        async for message in ws:
            session.got.append(str(message))
            session.sent.append(str(message))
            await ws.send(message)

    async def talk(peer: Peer) -> None:
        for message in "ab":
            await peer.send(message)
            assert await peer.receive() == message
        peer.close()

    session = await play(run, body, talk, personality=personality, delay=2)
    judge(run, session)
    if must_be_complete(run, session):
        assert session.got == ["a", "b"]


async def ping_pong(run: Run, personality: Personality = SILENT) -> None:
    """The handler asks, the peer answers, and the handler closes."""

    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        for number in range(3):
            session.sent.append(str(number))
            await ws.send(str(number))
            session.got.append(str(await ws.receive()))
        await ws.close(4000, "enough")

    async def talk(peer: Peer) -> None:
        async for message in peer:
            await peer.send(f"re {message!s}")

    session = await play(run, body, talk, personality=personality)
    judge(run, session)
    if must_be_complete(run, session):
        assert session.got == ["re 0", "re 1", "re 2"]
        assert session.server.transcript.app_close == (4000, "enough")


async def push(run: Run, personality: Personality = SILENT) -> None:
    """A child pushes and no task reads; the block ends with the child."""

    async def tick(ws: WebSocket, session: Session) -> None:
        for number in range(3):
            session.sent.append(str(number))
            await ws.send(str(number))
            await anyio.sleep(1)

    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        ws.start_soon(tick, ws, session)

    async def talk(peer: Peer) -> None:
        await peer.send("no task reads this")
        got = [str(message) async for message in peer]
        assert is_prefix(got, ["0", "1", "2"])

    session = await play(run, body, talk, personality=personality, incoming="discard")
    judge(run, session, children=True)
    if must_be_complete(run, session):
        assert session.server.transcript.from_app == ["0", "1", "2"]
        assert session.server.transcript.app_close == (1000, "")


async def busy_senders(run: Run, personality: Personality = SILENT) -> None:
    """Three children and the body send at once to a slow peer."""

    async def sender(ws: WebSocket, name: str) -> None:
        for number in range(2):
            await ws.send(f"{name}{number}")

    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        for name in "xyz":
            ws.start_soon(sender, ws, name)
        ws.send_nowait("n0")
        ws.send_nowait("n1")
        await ws.flush()
        async for message in ws:
            session.got.append(str(message))

    async def talk(peer: Peer) -> None:
        for _ in range(8):
            await peer.receive()
        peer.close()

    session = await play(run, body, talk, personality=personality, send_queue=1)
    judge(run, session, children=True)
    from_app = [str(message) for message in session.server.transcript.from_app]
    for name in "nxyz":
        mine = [message for message in from_app if message[0] == name]
        # A message that the server refused without the connection being gone is missing alone.
        refused = run.plan.fault is not None and run.plan.fault.kind == "error"
        assert mine == sorted(set(mine)) if refused else is_prefix(mine, [f"{name}0", f"{name}1"])
    if must_be_complete(run, session):
        assert len(from_app) == 8


async def both_close(run: Run, personality: Personality = HYPERCORN_ASYNCIO) -> None:
    """The handler and the peer close at about the same time, while a child sends."""

    async def sender(ws: WebSocket) -> None:
        with suppress(anyio.ClosedResourceError):
            for number in range(3):
                await ws.send(str(number))

    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        ws.start_soon(sender, ws)
        session.got.append(str(await ws.receive()))
        await ws.close(4000, "enough")

    async def talk(peer: Peer) -> None:
        await peer.send("a")
        with suppress(ConnectionEnded):
            assert await peer.receive() == "0"
        peer.close(4001, "bye")

    session = await play(run, body, talk, personality=personality)
    judge(run, session, children=True, peer_may_be_first=True)


async def timeouts(run: Run, personality: Personality = SILENT) -> None:
    """Every call is cancelled alone, as by a timeout, and made again."""

    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        while len(session.got) < 3:
            async with run.target():
                session.got.append(str(await ws.receive()))
        for number in range(3):
            session.sent.append(str(number))
            async with run.target() as target:
                await ws.send(str(number))
            if target.cancelled_caught and str(number) not in session.server.transcript.from_app:
                session.sent.pop()

    async def talk(peer: Peer) -> None:
        for message in "abc":
            await peer.send(message)
        async for _ in peer:
            pass

    session = await play(run, body, talk, personality=personality, receive_buffer=1)
    judge(run, session)
    if must_be_complete(run, session):
        assert session.got == ["a", "b", "c"]
        assert session.server.transcript.from_app == session.sent


async def broadcast(run: Run, personality: Personality = SILENT) -> None:
    """Two connections read, and everything goes to both of them without waiting."""
    members: dict[WebSocket, None] = {}

    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        members[ws] = None
        try:
            async for message in ws:
                session.got.append(str(message))
                for member in members:
                    with suppress(WebSocketDisconnected, anyio.ClosedResourceError):
                        member.send_nowait(message)
        finally:
            del members[ws]

    async def talk(peer: Peer) -> None:
        await peer.send("a")
        await peer.receive()
        await peer.send("b")
        await peer.receive()
        peer.close()

    sessions = [Session(run.server(personality=personality, timeout=LONGEST)) for _ in range(2)]
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(converse, run, session.server, talk)
            tasks.start_soon(serve, run, session, body)
    for session in sessions:
        judge(run, session)
        if run.quiet:
            assert session.got == ["a", "b"]


async def proxy(run: Run, personality: Personality = SILENT) -> None:
    """One block inside another: messages of one connection are sent to the other."""
    front = Session(run.server(personality=personality, timeout=LONGEST))
    back = Session(run.server(personality=personality, timeout=LONGEST))

    async def pump(source: WebSocket, session: Session, sink: WebSocket) -> None:
        async for message in source:
            session.got.append(str(message))
            await sink.send(message)
        await sink.close()

    async def inside(upstream: WebSocket, session: Session) -> None:
        assert front.ws is not None
        await upstream.accept()
        upstream.start_soon(pump, front.ws, front, upstream)
        await pump(upstream, session, front.ws)

    async def outside(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        server = back.server
        async with open_websocket(server.scope, server.receive, server.send) as back.ws:
            await inside(back.ws, back)
            back.finished = True

    async def talk_front(peer: Peer) -> None:
        for message in "ab":
            await peer.send(message)
            assert await peer.receive() == message.upper()
        peer.close()

    async def talk_back(peer: Peer) -> None:
        async for message in peer:
            await peer.send(str(message).upper())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(converse, run, front.server, talk_front)
        tasks.start_soon(converse, run, back.server, talk_back)
        await serve(run, front, outside)
        back.server.app_ended(front.error)
    for session in (front, back):
        if session.ws is not None:
            judge_messages(run, session)
            judge_farewell(run, session)
    if run.quiet:
        assert front.got == ["a", "b"]
        assert back.got == ["A", "B"]


SCENARIOS = (
    echo,
    slow_server,
    ping_pong,
    push,
    busy_senders,
    both_close,
    timeouts,
    broadcast,
    proxy,
)
