"""One connection of trio-websocket under the engine: what the application and the peer see."""

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from tests.trio_websocket._peers import URL, Peer, bare_client, client, serving
from wsnursery import Options, WebSocket, WebSocketDisconnected
from wsnursery.testing import virtual_backend
from wsnursery.trio_websocket import from_connection
from wsnursery.trio_websocket._client import client_over
from wsnursery.trio_websocket._reader import shielded_nursery
from wsnursery.trio_websocket._server import TrioServer
from wsnursery.trio_websocket._url import parse_url


@pytest.fixture
def anyio_backend():
    return virtual_backend("trio")


def breaking(stream: trio.StapledStream[Any, Any], error: OSError) -> Callable[[], None]:
    """Let every later call on a stream fail as a socket fails; wake the reader that waits."""

    async def fail(*_: object) -> Any:
        raise trio.BrokenResourceError("the peer has gone") from error

    def break_it() -> None:
        stream.send_stream.send_all = fail
        stream.receive_stream.receive_some = fail

    return break_it


@asynccontextmanager
async def adopted(options: Options = Options()):
    """A connection of trio-websocket's own that becomes ours, its peer and its stream."""
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)
    async with shielded_nursery() as nursery:
        nursery.start_soon(peer.accept)
        connection = await bare_client(nursery, ours)
        async with from_connection(connection, options) as ws:
            yield ws, peer, ours


# ------------------------------------------------------------------------------------- messages


# contract: R1, S1, S6
async def test_messages_both_ways():
    async with client() as (ws, peer):
        assert (ws.state, ws.scope["path"], ws.scope["query_string"]) == (
            "open",
            "/chat",
            b"room=1",
        )
        for message in ("text", "", b"bytes", b"", "\N{SNOWMAN}" * 1000):
            await ws.send(message)
        for number in range(3):
            await peer.send(TextMessage(data=f"{number}"))
        assert [await ws.receive() for _ in range(3)] == ["0", "1", "2"]
        events = [await peer.next() for _ in range(5)]
        assert [event.data for event in events] == [
            "text",
            "",
            b"bytes",
            b"",
            "\N{SNOWMAN}" * 1000,
        ]
        assert isinstance(events[3], BytesMessage)
        nursery_free = ws.statistics()
        assert nursery_free.messages_received == 3
        await peer.send(CloseConnection(code=1000))


# contract: R5, D6
async def test_what_the_server_said_before_its_close_is_read():
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)

    async def say_and_close():
        assert await peer.next() is not None
        await peer.send(
            AcceptConnection(),
            TextMessage(data="one"),
            TextMessage(data="two"),
            CloseConnection(code=4001, reason="\N{WAVING HAND SIGN}"),
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say_and_close)
        async with client_over(ours, parse_url(URL), [], [], Options()) as ws:
            assert [message async for message in ws] == ["one", "two"]
            assert (ws.close_code, ws.close_reason) == (4001, "\N{WAVING HAND SIGN}")
    assert await peer.close_frame() == (4001, "\N{WAVING HAND SIGN}")


# ---------------------------------------------------------------------------------------- closing


# contract: C1, C4, D6
async def test_own_close_and_its_answer():
    async with client() as (ws, peer):
        await ws.send("last")
        await ws.close(4002, "enough")
        assert ws.state == "closing"
        event = await peer.next()
        assert isinstance(event, TextMessage)
        close = await peer.next()
        assert (close.code, close.reason) == (4002, "enough")
        await peer.send(CloseConnection(code=4003))
        assert [message async for message in ws] == []
    assert (ws.state, ws.close_code, ws.close_reason) == ("closed", 4002, "enough")
    assert trio.current_time() < 1


async def test_peer_that_never_answers_the_close():
    async with client(Options(close_timeout=2)) as (ws, peer):
        await ws.close()
        assert trio.current_time() == 0
    assert 2 <= trio.current_time() < 3
    assert await peer.close_frame() == (1000, "")


async def test_both_sides_close_at_once():
    async with client() as (ws, peer):
        await peer.send(CloseConnection(code=4001))
        await ws.close(4002)
    assert ws.close_code == 4002
    assert (await peer.close_frame())[0] in {4001, 4002}


# contract: D6
async def test_close_without_a_code():
    async with client() as (ws, peer):
        await peer.stream.send_all(b"\x88\x00")
        assert [message async for message in ws] == []
        assert (ws.close_code, ws.close_reason) == (1005, "")


async def test_end_of_stream_is_a_clean_end_with_1006():
    async with client() as (ws, peer):
        await peer.send(TextMessage(data="good"))
        await peer.vanish()
        assert [message async for message in ws] == ["good"]
        assert ws.close_code == 1006


# contract: X1
async def test_failing_body_closes_with_1011():
    peer: Any = None
    with pytest.raises(LookupError):
        async with client() as (_, peer):
            raise LookupError("body")
    assert await peer.close_frame() == (1011, "")


# contract: X5
async def test_cancelled_from_outside_closes_with_1001():
    peer: Any = None
    with trio.CancelScope() as scope:
        async with client() as (_, peer):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert await peer.close_frame() == (1001, "")
    assert trio.current_time() < 1


async def test_messages_that_cross_your_own_close_are_dropped():
    async with client() as (ws, peer):
        await ws.close()
        await peer.send(*[TextMessage(data="late")] * 5, CloseConnection(code=1000))
    assert trio.current_time() < 1


async def test_ping_that_crosses_your_own_close():
    """It ends trio-websocket's reader, which there cancels the application."""
    async with client() as (ws, peer):
        await ws.close(4002)
        await peer.send(Ping(payload=b"?"))
        await wait_all_tasks_blocked()
        assert [message async for message in ws] == []
    assert ws.close_code == 4002
    assert trio.current_time() < 1


# ------------------------------------------------------------------------------------- broken ends


# contract: D1
async def test_cause_of_a_broken_send():
    reset = ConnectionResetError(104, "Connection reset by peer")
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)
    with pytest.raises(WebSocketDisconnected) as caught:
        async with shielded_nursery() as nursery:
            nursery.start_soon(peer.accept)
            async with client_over(ours, parse_url(URL), [], [], Options()) as ws:
                breaking(ours, reset)()
                await ws.send("lost")
    assert caught.value.__cause__ is reset
    assert (caught.value.code, caught.value.undelivered) == (None, 1)


# contract: D1
async def test_cause_of_a_broken_read():
    reset = ConnectionResetError(104, "Connection reset by peer")
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)
    with pytest.raises(WebSocketDisconnected) as caught:
        async with shielded_nursery() as nursery:
            nursery.start_soon(peer.accept)
            async with client_over(ours, parse_url(URL), [], [], Options()) as ws:
                breaking(ours, reset)()
                await peer.send(TextMessage(data="wakes the reader"))
                await ws.receive()
                await ws.receive()
    assert caught.value.__cause__ is reset


async def test_cause_without_an_oserror():
    with pytest.raises(WebSocketDisconnected) as caught:
        async with client() as (ws, peer):
            await peer.stream.receive_stream.aclose()  # type: ignore[attr-defined]
            await ws.send("lost")
    assert isinstance(caught.value.__cause__, trio.BrokenResourceError)


async def test_cause_dug_out_of_an_adopted_connection():
    reset = ConnectionResetError(104, "Connection reset by peer")
    with pytest.raises(WebSocketDisconnected) as caught:
        async with adopted() as (ws, _, stream):
            breaking(stream, reset)()
            await ws.send("lost")
    assert caught.value.__cause__ is reset


async def test_cause_of_a_ping_on_an_adopted_connection():
    reset = ConnectionResetError(104, "Connection reset by peer")
    with pytest.raises(WebSocketDisconnected) as caught:
        async with adopted(Options(ping_interval=5)) as (ws, _, stream):
            breaking(stream, reset)()
            await ws.receive()
    assert caught.value.__cause__ is reset


async def test_end_of_an_adopted_connection():
    async with adopted() as (ws, peer, _):
        assert ws.scope["headers"] == []
        await peer.vanish()
        assert [message async for message in ws] == []
        assert ws.close_code == 1006


async def test_reader_that_fails(monkeypatch: pytest.MonkeyPatch):
    """A bug of trio-websocket ends the connection, not the application's nursery."""
    bug = ZeroDivisionError("bug")

    def fail(*_: object) -> None:
        raise bug

    with pytest.raises(WebSocketDisconnected) as caught:
        async with client() as (ws, peer):
            monkeypatch.setattr("wsproto.WSConnection.receive_data", fail)
            await peer.stream.send_all(b"anything")
            await ws.receive()
    assert caught.value.__cause__ is bug


async def test_peer_that_breaks_the_protocol():
    async with client() as (ws, peer):
        await peer.stream.send_all(b"\xff\xff\xff\xff")
        assert [message async for message in ws] == []
        assert ws.close_code == 1002


async def test_send_after_the_peer_has_closed_gets_the_code():
    """trio-websocket refuses the send before its reader gets the reason."""
    ours, theirs = lockstep_stream_pair()
    peer = Peer.server(theirs)
    with pytest.raises(WebSocketDisconnected) as caught:
        async with shielded_nursery() as nursery:
            nursery.start_soon(peer.accept)
            async with client_over(ours, parse_url(URL), [], [], Options()) as ws:
                await peer.send(CloseConnection(code=4001, reason="bye"))
                await wait_all_tasks_blocked()  # the answer to it waits to be read
                nursery.start_soon(read_after_a_while, peer)
                await ws.send("too late")
    assert (caught.value.code, caught.value.reason) == (4001, "bye")
    assert caught.value.undelivered == 1


async def read_after_a_while(peer: Peer) -> None:
    await trio.sleep(1)
    await peer.next()


# ----------------------------------------------------------------------------------- whole frames


class Dribble(trio.abc.SendStream):
    """A slow line: 1000 bytes a second, as a peer that reads slowly makes it."""

    def __init__(self, stream: trio.abc.SendStream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for start in range(0, len(data), 100):
            await self._stream.send_all(data[start : start + 100])
            await trio.sleep(0.1)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


def slow_line() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    ours, theirs = memory_stream_pair()
    return trio.StapledStream(Dribble(ours.send_stream), ours.receive_stream), theirs


async def whole_message(peer: Peer) -> str:
    text = ""
    while True:
        event = await peer.next()
        assert isinstance(event, TextMessage)
        text += event.data
        if event.message_finished:
            return text


# contract: S3
async def test_cancelled_send_leaves_the_frame_whole():
    """Bare trio-websocket tears it: see the next test."""
    ours, theirs = slow_line()
    peer = Peer.server(theirs)
    async with shielded_nursery() as nursery:
        nursery.start_soon(peer.accept)
        async with client_over(ours, parse_url(URL), [], [], Options()) as ws:
            with trio.move_on_after(1) as limit:
                await ws.send("x" * 10_000)
            assert limit.cancelled_caught
            await ws.send("next")
            assert await whole_message(peer) == "x" * 10_000
            assert await whole_message(peer) == "next"
            nursery.start_soon(peer.serve)


async def test_trio_websocket_tears_it():
    ours, theirs = slow_line()
    peer = Peer.server(theirs)
    async with shielded_nursery() as nursery:
        nursery.start_soon(peer.accept)
        connection = await bare_client(nursery, ours)
        with trio.move_on_after(1):
            await connection.send_message(b"x" * 10_000)
        await connection.send_message(b"next")
        finished = True
        while trio.current_time() < 2:
            with trio.move_on_after(1):
                event = await peer.next()
                assert isinstance(event, BytesMessage)
                finished = event.message_finished
        assert not finished  # "next" was taken for a part of the first one, which never ends


# contract: S10
async def test_peer_that_does_not_read():
    ours, theirs = lockstep_stream_pair()
    peer = Peer.server(theirs)
    with pytest.raises(WebSocketDisconnected) as caught:
        async with shielded_nursery() as nursery:
            nursery.start_soon(peer.accept)
            options = Options(send_timeout=3, ping_interval=None)
            async with client_over(ours, parse_url(URL), [], [], options) as ws:
                await ws.send("x" * 10_000)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert 3 <= trio.current_time() < 4


# contract: C5
async def test_close_that_the_server_does_not_take():
    ours, theirs = lockstep_stream_pair()
    peer = Peer.server(theirs)
    async with shielded_nursery() as nursery:
        nursery.start_soon(peer.accept)
        async with client_over(ours, parse_url(URL), [], [], Options(close_timeout=2)) as ws:
            await ws.close()
    assert 2 <= trio.current_time() < 3


# --------------------------------------------------------------------------------------- big ones


@pytest.mark.parametrize("text", ["x" * 101, "\N{SNOWMAN}" * 40])
async def test_message_that_is_too_big(text: str):
    """The first is over the limit for trio-websocket as well, the second in bytes only."""
    async with client(Options(max_message_size=100)) as (ws, peer):
        await peer.send(TextMessage(data="good"), TextMessage(data=text))
        assert [message async for message in ws] == ["good"]
        assert ws.close_code == 1009
        await peer.send(CloseConnection(code=1009))
    assert (await peer.close_frame())[0] == 1009


# contract: R2
async def test_inbox_is_bounded():
    options = Options(receive_buffer=4, ping_interval=None)
    async with client(options) as (ws, peer):
        await peer.send(*[TextMessage(data=f"{number}") for number in range(20)])
        await wait_all_tasks_blocked()
        assert ws.statistics().receive_buffer_used == 4
        assert ws.statistics().messages_received == 5
        assert [await ws.receive() for _ in range(20)] == [f"{number}" for number in range(20)]
        await peer.send(CloseConnection(code=1000))


# ------------------------------------------------------------------------------------------ pings


async def test_round_trip_time_is_measured():
    async with client(Options(ping_interval=10)) as (ws, peer):
        assert ws.statistics().round_trip_time is None
        ping = await peer.next()
        assert isinstance(ping, Ping)
        assert trio.current_time() == 10
        await trio.sleep(0.25)
        await peer.send(ping.response())
        await wait_all_tasks_blocked()
        assert ws.statistics().round_trip_time == pytest.approx(0.25)
        await peer.send(CloseConnection(code=1000))


async def test_peer_that_stops_answering():
    with pytest.raises(WebSocketDisconnected, match="without a close code") as caught:
        async with client(Options(ping_interval=10, ping_timeout=5)) as (ws, _):
            await ws.receive()
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert str(caught.value.__cause__) == "the peer has not answered a ping within 5 s"
    assert trio.current_time() == 15


async def test_peer_that_stops_answering_an_adopted_connection():
    with pytest.raises(WebSocketDisconnected) as caught:
        async with adopted(Options(ping_interval=10, ping_timeout=5)) as (ws, _, _):
            await ws.receive()
    assert isinstance(caught.value.__cause__, TimeoutError)


async def test_peer_that_talks_instead_of_answering():
    async with client(Options(ping_interval=10, ping_timeout=5)) as (ws, peer):
        for _ in range(20):
            await trio.sleep(4)
            await peer.send(TextMessage(data="alive"))
            assert await ws.receive() == "alive"
        await peer.send(CloseConnection(code=1000))


async def test_the_ping_timeout_rests_while_no_task_reads():
    """The answer lies behind messages that the application has not taken."""
    options = Options(receive_buffer=1, ping_interval=10, ping_timeout=5)
    async with client(options) as (ws, peer):
        await peer.send(*[TextMessage(data="x")] * 5)
        assert isinstance(await peer.next(), Ping)
        await peer.send(Pong(payload=b"something else"))
        await trio.sleep(100)
        for _ in range(5):
            assert await ws.receive() == "x"
        await peer.send(CloseConnection(code=1000))


@pytest.mark.parametrize("timeout", [None, 50])
async def test_patience_is_an_option(timeout: float | None):
    async with client(Options(ping_interval=10, ping_timeout=timeout)) as (ws, peer):
        await trio.sleep(40)
        assert ws.state == "open"
        await peer.send(CloseConnection(code=1000))


async def test_no_pings():
    async with client(Options(ping_interval=None)) as (ws, peer):
        await trio.sleep(3600)
        await ws.send("first")
        assert isinstance(await peer.next(), TextMessage)
        await peer.send(CloseConnection(code=1000))


# --------------------------------------------------------------------------------------- handshakes


async def test_answer_of_the_server():
    headers = [(b"x-id", b"7")]
    async with client(subprotocol="chat", extra_headers=headers) as (ws, peer):
        assert ws.subprotocol == "chat"
        assert (b"x-id", b"7") in ws.headers
        await peer.send(CloseConnection(code=1000))


async def handle(ws: WebSocket) -> None:
    await ws.accept(ws.subprotocols[0], headers=[(b"x-id", b"7")])
    async for message in ws:
        await ws.send(message)


async def test_accept():
    async with serving(handle, subprotocols=["a", "b"]) as peer:
        assert isinstance(peer.answer, AcceptConnection)
        assert peer.answer.subprotocol == "a"
        assert (b"x-id", b"7") in peer.answer.extra_headers
        await peer.send(TextMessage(data="hello"))
        echo = await peer.next()
        assert isinstance(echo, TextMessage)
        await peer.send(CloseConnection(code=4001))
        assert await peer.close_frame() == (4001, "")


# contract: C6
async def test_reject_with_a_body():
    async def turn_away(ws: WebSocket) -> None:
        headers = [(b"content-length", b"9"), (b"x-why", b"full")]
        await ws.reject(503, headers, b"come back")

    async with serving(turn_away) as peer:
        answer = peer.answer
        assert isinstance(answer, RejectConnection)
        assert answer.status_code == 503
        assert dict(answer.headers)[b"content-length"] == b"9"
        assert dict(answer.headers)[b"x-why"] == b"full"
        data = await peer.next()
        assert isinstance(data, RejectData)
        assert data.data == b"come back"


async def never_accept(ws: WebSocket) -> None:
    await trio.lowlevel.checkpoint()


# contract: L4, T2
@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (never_accept, Options()),
        (handle, Options(allowed_origins=["https://a"])),
    ],
    ids=["never accepts", "origin"],
)
async def test_denial(handler: Callable[[WebSocket], Awaitable[object]], options: Options):
    async with serving(handler, options, extra_headers=[(b"Origin", b"https://b")]) as peer:
        assert isinstance(peer.answer, RejectConnection)
        assert peer.answer.status_code == 403


# contract: D7
async def test_client_that_leaves_before_the_accept():
    ended = trio.Event()

    async def slow(ws: WebSocket) -> None:
        try:
            await trio.sleep(10)
            await ws.accept()
        finally:
            ended.set()

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(TrioServer(slow, Options()).serve_stream, ours)
        peer = Peer.client(theirs)
        await peer.send(Request(host="example.org", target="/"))
        await trio.sleep(1)
        await peer.vanish()
        await ended.wait()
    assert trio.current_time() < 2


async def test_what_the_engine_asks_of_a_transport():
    async with client() as (ws, peer):
        transport = ws._transport
        assert not transport.abort()
        assert transport.says_gone(trio.BrokenResourceError())
        assert not transport.says_gone(ValueError())
        await peer.send(CloseConnection(code=1000))
