"""Our client and server over trio-websocket against those of other libraries, on loopback."""

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import anyio
import anyio.from_thread
import pytest
import trio
import trio_websocket
import websockets.asyncio.client
import websockets.sync.client
import websockets.sync.server
from trio.testing import wait_all_tasks_blocked
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.servers._clients import RawClient, ServerGone
from tests.servers._harness import ROOT, Running, wait_until
from wsnursery import Options, WebSocket, WebSocketDisconnected
from wsnursery.trio_websocket import connect, serve

MEGABYTE = bytes(1024 * 1024)
REASON = "ciào \N{WAVING HAND SIGN}"


@pytest.fixture
def anyio_backend():
    return "trio", {}


# ---------------------------------------------------------------------- our client, their servers


async def converse(ws: WebSocket) -> None:
    """What must work with every echo server."""
    for message in ("text", REASON, b"bytes", "", b"", MEGABYTE):
        await ws.send(message)
        assert await ws.receive() == message


# contract: S1, R1, C4
async def test_hypercorn(server: Running):
    connection = server.new_id()
    async with connect(server.url("/ours/echo", connection)) as ws:
        await converse(ws)
        await ws.close(4001, REASON)
    ended = await trio.to_thread.run_sync(server.wait_for, connection, "ended")
    assert ended["error"] is None


# contract: D6
@pytest.mark.parametrize(
    ("handler", "expected"),
    [("leave", (1000, "")), ("close_with", (4002, "enough")), ("fail", (1011, ""))],
)
async def test_hypercorn_closes(server: Running, handler: str, expected: tuple[int, str]):
    connection = server.new_id()
    ws: Any = None
    with suppress(WebSocketDisconnected):  # it may close before the loop begins
        async with connect(server.url(f"/ours/{handler}", connection) + "&code=4002") as ws:
            async for _ in ws:
                pass
    assert ws.close_code == expected[0]
    assert ws.close_reason == expected[1] or handler == "fail"
    await trio.to_thread.run_sync(server.wait_for, connection, "ended")


@contextmanager
def websockets_server(handler: Callable[[Any], None], **options: Any) -> Iterator[str]:
    """A server of `websockets` in a thread: its address."""
    with websockets.sync.server.serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        finally:
            server.shutdown()
            thread.join()


async def test_websockets():
    closes: list[tuple[int | None, str | None]] = []

    def echo(ws: Any) -> None:
        with suppress(ConnectionClosed):
            for message in ws:
                ws.send(message)
        closes.append((ws.close_code, ws.close_reason))

    with websockets_server(echo, subprotocols=["chat"], max_size=None) as url:
        async with connect(url, subprotocols=["other", "chat"]) as ws:
            assert ws.subprotocol == "chat"
            await converse(ws)
            await ws.close(4001, REASON)
        async with connect(url, subprotocols=["chat"], options=Options(ping_interval=0.05)) as ws:
            await trio.to_thread.run_sync(
                wait_until, lambda: ws.statistics().round_trip_time is not None, 5
            )
    assert closes == [(4001, REASON), (1000, "")]


async def test_websockets_closes():
    ws: Any = None
    with (
        websockets_server(lambda ws: ws.close(4002, REASON)) as url,
        suppress(WebSocketDisconnected),
    ):
        async with connect(url) as ws:
            assert [message async for message in ws] == []
    assert (ws.close_code, ws.close_reason) == (4002, REASON)


# ---------------------------------------------------------------------- our server, their clients


class Notes(list[Any]):
    """What the handler says, for the test in another thread."""

    def wait_for(self, count: int) -> None:
        assert wait_until(lambda: len(self) >= count, 5), self


@contextmanager
def serving(handler: Callable[[WebSocket], Any], options: Options = Options()) -> Iterator[str]:
    """Our server on a trio of its own, in a thread: its address."""
    with anyio.from_thread.start_blocking_portal("trio") as portal:
        future, listening = portal.start_task(
            lambda task_status: serve(
                handler, "127.0.0.1", 0, options=options, task_status=task_status
            )
        )
        try:
            yield f"ws://127.0.0.1:{listening.port}/"
        finally:
            future.cancel()


async def echo(ws: WebSocket) -> None:
    await ws.accept(next(iter(ws.subprotocols), None))
    async for message in ws:
        await ws.send(message)


def noting(notes: Notes) -> Callable[[WebSocket], Any]:
    async def handler(ws: WebSocket) -> None:
        await echo(ws)
        notes.append((ws.close_code, ws.close_reason))

    return handler


def test_client_of_websockets_sync():
    notes = Notes()
    with serving(noting(notes)) as url:
        subprotocols = [Subprotocol("chat")]
        with websockets.sync.client.connect(
            url, subprotocols=subprotocols, max_size=None
        ) as client:
            assert client.subprotocol == "chat"
            for message in ("text", REASON, b"bytes", "", b"", MEGABYTE):
                client.send(message)
                assert client.recv(timeout=5) == message
            client.close(4001, REASON)
        notes.wait_for(1)
    assert notes == [(4001, REASON)]


def test_client_of_websockets_asyncio():
    notes = Notes()

    async def main(url: str) -> None:
        # It offers permessage-deflate, which trio-websocket turns down.
        async with websockets.asyncio.client.connect(url, max_size=None) as client:
            for message in ("text", MEGABYTE):
                await client.send(message)
                assert await client.recv() == message
            await client.close(4001, REASON)

    with serving(noting(notes)) as url:
        asyncio.run(main(url))
        notes.wait_for(1)
    assert notes == [(4001, REASON)]


def test_client_of_trio_websocket():
    notes = Notes()

    async def main(url: str) -> None:
        async with trio_websocket.open_websocket_url(url) as client:
            await client.send_message("text")
            assert await client.get_message() == "text"
            await client.aclose(4001, REASON)

    with serving(noting(notes)) as url:
        trio.run(main, url)
        notes.wait_for(1)
    assert notes == [(4001, REASON)]


def raw_client(url: str, **arguments: Any) -> RawClient:
    client = RawClient(int(url.rstrip("/").rpartition(":")[2]), **arguments)
    assert client.open("/") == 101
    return client


def ending(notes: Notes) -> Callable[[WebSocket], Any]:
    """Note what the block raises when the connection cuts it short."""

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(say_that_it_reads, ws)
        try:
            await ws.receive()
        except WebSocketDisconnected as exc:
            notes.append((exc.code, type(exc.__cause__)))

    return handler


async def say_that_it_reads(ws: WebSocket) -> None:
    await wait_all_tasks_blocked(0.01)
    await ws.send("reading")


# contract: D1, D6
@pytest.mark.parametrize(
    ("leave", "expected"),
    [
        (lambda client: client.close(4001, "bye"), (4001, type(None))),
        (RawClient.half_close, (1006, type(None))),
        (lambda client: client.socket.close(), (1006, type(None))),
        (RawClient.reset, (None, ConnectionResetError)),
    ],
    ids=["close frame", "half-close", "FIN", "RST"],
)
def test_ways_to_leave(leave: Callable[[RawClient], None], expected: tuple[Any, type]):
    notes = Notes()
    with serving(ending(notes)) as url, raw_client(url) as client:
        assert client.read() == (1, b"reading")
        leave(client)
        notes.wait_for(1)
    assert notes == [expected]


# contract: X1
def test_handler_that_fails(caplog: pytest.LogCaptureFixture):
    async def fail(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            raise LookupError("in the handler")

    with serving(fail) as url, raw_client(url) as client, raw_client(url) as other:
        client.send("go")
        assert client.read_close() == (1011, "")
        client.close(1011)
        with pytest.raises(ServerGone):
            client.read()
        other.send("go")  # the server goes on
        assert other.read_close() == (1011, "")
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [type(record.exc_info[1]) for record in errors if record.exc_info] == [LookupError] * 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its sockets
def test_trio_websocket_alone_ends():
    """What `test_handler_that_fails` is measured against."""

    async def fail(request: trio_websocket.WebSocketRequest) -> None:
        await request.accept()
        raise LookupError("in the handler")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(trio_websocket.serve_websocket, fail, "127.0.0.1", 0, None)
            async with trio_websocket.open_websocket("127.0.0.1", server.port, "/", use_ssl=False):
                await trio.sleep_forever()

    with pytest.RaisesGroup(LookupError, flatten_subgroups=True, allow_unwrapped=True):
        trio.run(main)


# contract: S10, D1
def test_client_that_has_stopped_reading():
    notes = Notes()

    async def flood(ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send(MEGABYTE)
        except WebSocketDisconnected as exc:
            notes.append(type(exc.__cause__))

    with serving(flood, Options(send_timeout=0.5)) as url, raw_client(url, receive_buffer=4096):
        notes.wait_for(1)
    assert notes == [TimeoutError]


# contract: S10
def test_client_that_answers_no_pings():
    notes = Notes()
    options = Options(ping_interval=0.2, ping_timeout=0.2)
    with serving(ending(notes), options) as url, raw_client(url):
        notes.wait_for(1)
    assert notes == [(None, TimeoutError)]


# contract: X5
def test_server_that_stops():
    with ExitStack() as stack:
        with serving(echo) as url:
            clients = [stack.enter_context(websockets.sync.client.connect(url)) for _ in range(5)]
        for client in clients:
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=5)
            assert client.close_code == 1001


# contract: R2
def test_message_that_is_too_big():
    options = Options(max_message_size=1000)
    with serving(echo, options) as url, websockets.sync.client.connect(url) as client:
        client.send(MEGABYTE)
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
        assert client.close_code == 1009


# ------------------------------------------------------------------------------------ the programs


def test_example_that_comes_back():
    with serving(echo) as url, _program("examples.reconnect", url) as process:
        assert process.stdout.readline() == "connected\n"
        assert process.stdout.readline() == "received 'hello'\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


@contextmanager
def _program(*arguments: str) -> Iterator[Any]:
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
