"""Hypercorn's own callables, called in place: real sockets, in this process, on both workers."""

import contextlib
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import anyio
import pytest
import wsproto
import wsproto.events
from anyio.abc import ByteStream, SocketAttribute

from wsnursery import Options, WebSocket, WebSocketDisconnected, rooms, websocket_app
from wsnursery.hypercorn import Config, serve

Handler = Callable[[WebSocket], Awaitable[None]]

LARGE = "x" * 40_000
"""More bytes than a message that is sent in place on trio."""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Sockets need real time."""
    backend: str = request.param
    return backend


class Client:
    """A client that reads only when it is asked to."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._wire = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._events: list[wsproto.events.Event] = []

    async def open(self) -> None:
        await self._send(wsproto.events.Request(host="localhost", target="/"))
        assert isinstance(await self._next(), wsproto.events.AcceptConnection)

    async def send(self, *messages: str | bytes) -> None:
        """Send them in one packet."""
        await self._send(
            *(
                wsproto.events.TextMessage(message)
                if isinstance(message, str)
                else wsproto.events.BytesMessage(message)
                for message in messages
            )
        )

    async def receive(self) -> str | bytes:
        whole: Any = None
        while True:
            event = await self._next()
            assert isinstance(event, wsproto.events.TextMessage | wsproto.events.BytesMessage)
            whole = event.data if whole is None else whole + event.data
            if event.message_finished:
                return whole if isinstance(whole, str) else bytes(whole)

    async def close(self) -> int:
        """Send a close frame, and return the code of the server's close."""
        await self._send(wsproto.events.CloseConnection(1000))
        return await self.closed()

    async def closed(self) -> int:
        while not isinstance(event := await self._next(), wsproto.events.CloseConnection):
            pass
        return event.code

    async def reset(self) -> None:
        sock = self._stream.extra(SocketAttribute.raw_socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()

    async def _send(self, *events: wsproto.events.Event) -> None:
        await self._stream.send(b"".join(self._wire.send(event) for event in events))

    async def _next(self) -> wsproto.events.Event:
        while not self._events:
            self._wire.receive_data(await self._stream.receive())
            self._events += (
                event for event in self._wire.events() if not isinstance(event, wsproto.events.Ping)
            )
        return self._events.pop(0)


class Served:
    """The outcome of the handler."""

    def __init__(self) -> None:
        self.left = anyio.Event()
        self.error: BaseException | None = None

    async def outcome(self) -> BaseException | None:
        with anyio.fail_after(5):
            await self.left.wait()
        return self.error


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, bind: str = "127.0.0.1:0", **options: Any
) -> AsyncGenerator[tuple[Client, Served]]:
    """One client of one handler, on its own server."""
    served = Served()

    @websocket_app(options=Options(**options))
    async def app(ws: WebSocket) -> None:
        try:
            await handler(ws)
        except BaseException as exc:
            served.error = exc
            raise
        finally:
            served.left.set()

    config = Config.from_mapping({"bind": bind, "loglevel": "CRITICAL"})
    async with anyio.create_task_group() as group:
        (address,) = await group.start(partial(serve, app, config))
        stream: ByteStream
        if bind.startswith("unix:"):
            stream = await anyio.connect_unix(bind.removeprefix("unix:"))
        else:
            stream = await anyio.connect_tcp("127.0.0.1", int(address.rpartition(":")[2]))
        async with stream:
            client = Client(stream)
            await client.open()
            with anyio.fail_after(20):
                yield client, served
        group.cancel_scope.cancel()


async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


# contract: S1, R1
@pytest.mark.parametrize("where", ["tcp", "unix"])
@pytest.mark.parametrize("hooked", [False, True], ids=["plain", "hooked"])
async def test_every_message_comes_back(
    where: Literal["tcp", "unix"], hooked: bool, tmp_path: Path
) -> None:
    seen: list[object] = []
    hooks = [seen.append] if hooked else []
    bind = f"unix:{tmp_path}/s" if where == "unix" else "127.0.0.1:0"
    messages: list[str | bytes] = ["a", b"b", "ä", "", b"", LARGE, LARGE.encode()]
    messages += [str(number) for number in range(50)]
    async with serving(echo, bind, hooks=hooks) as (client, served):
        for message in messages:
            await client.send(message)
            assert await client.receive() == message
        await client.send(*messages[-50:])
        assert [await client.receive() for _ in range(50)] == messages[-50:]
        assert await client.close() == 1000
        assert await served.outcome() is None
    assert bool(seen) == hooked


# contract: S1, S8
async def test_a_burst_of_messages_and_of_senders() -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()

        async def push(name: str) -> None:
            for number in range(40):
                await ws.send(f"{name}{number}")

        ws.start_soon(push, "a")
        ws.start_soon(push, "b")
        await push("c")

    async with serving(handler) as (client, served):
        arrived = [await client.receive() for _ in range(120)]
        for name in "abc":
            assert [each for each in arrived if str(each).startswith(name)] == [
                f"{name}{number}" for number in range(40)
            ]
        assert await client.closed() == 1000
        assert await served.outcome() is None


# contract: R3, S9
async def test_a_reader_that_comes_and_goes() -> None:
    """A cancelled receive loses nothing; without a reader, the receiver task takes over."""
    go_on = anyio.Event()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        with anyio.move_on_after(0.05):
            await ws.receive()
        await ws.send("cancelled")
        await go_on.wait()
        await anyio.sleep(0.2)
        await ws.send([await ws.receive() for _ in range(5)].__repr__())
        await ws.send(await ws.receive())
        with anyio.move_on_after(0.05):
            await ws.receive()
        ws.start_soon(echoes_one, ws)

    async def echoes_one(ws: WebSocket) -> None:
        await ws.send(await ws.receive())

    async with serving(handler) as (client, served):
        assert await client.receive() == "cancelled"
        await client.send(*"abcde")
        go_on.set()
        assert await client.receive() == "['a', 'b', 'c', 'd', 'e']"
        await client.send("f")
        assert await client.receive() == "f"
        await anyio.sleep(0.1)
        await client.send("g")
        assert await client.receive() == "g"
        assert await client.closed() == 1000
        assert await served.outcome() is None


# contract: D1
@pytest.mark.parametrize("busy", ["reads", "sends", "sleeps", "waits in a child"])
async def test_a_client_that_resets(busy: str) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("ready")
        if busy == "reads":
            while True:
                await ws.receive()
        elif busy == "sends":
            while True:
                await ws.send("x" * 1000)
        elif busy == "waits in a child":
            ws.start_soon(anyio.sleep_forever)
            await ws.receive()
        else:
            await anyio.sleep_forever()

    async with serving(handler) as (client, served):
        assert await client.receive() == "ready"
        await client.reset()
        await served.left.wait()
        error = await served.outcome()
        if busy != "waits in a child" or error is not None:
            assert isinstance(error, WebSocketDisconnected | anyio.get_cancelled_exc_class())


# contract: S10
@pytest.mark.parametrize("where", ["tcp", "unix", "elsewhere"])
async def test_a_client_that_stops_reading(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "elsewhere":  # only Linux reports how much a socket takes at once
        system = SimpleNamespace(platform="darwin", modules=sys.modules)
        monkeypatch.setattr("wsnursery.asgi._in_place.sys", system)
    bind = f"unix:{tmp_path}/s" if where == "unix" else "127.0.0.1:0"

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send("x" * 10_000)

    async with serving(handler, bind, send_timeout=0.3, close_timeout=0.3) as (_, served):
        error = await served.outcome()
        assert isinstance(error, WebSocketDisconnected)
        assert isinstance(error.__cause__, TimeoutError)


# contract: S3
async def test_a_send_that_is_cancelled_is_whole_or_not_at_all() -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(60):
            with anyio.move_on_after(0.001 if number % 2 else None):
                await ws.send(f"{number:04}" * 5000)
        await ws.send("last")
        async for _ in ws:
            pass

    async with serving(handler) as (client, _):
        await anyio.sleep(0.1)
        arrived: list[str] = []
        while (message := await client.receive()) != "last":
            text = str(message)
            assert text == text[:4] * 5000
            arrived.append(text[:4])
        assert arrived == sorted(arrived)
        await client.close()


# contract: R6
async def test_a_message_that_is_too_large() -> None:
    async with serving(echo, max_message_size=10) as (client, served):
        await client.send("x" * 11)
        assert await client.closed() == 1009
        await served.outcome()


# contract: B1
async def test_a_room_delivers_to_a_member_of_a_real_server() -> None:
    room = rooms.Room("kiwi")

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        with room.joined(ws):
            async for message in ws:
                assert isinstance(message, str)
                for number in range(20):
                    room.publish(f"{message}{number}")
                room.publish(LARGE)

    async with serving(handler) as (client, served):
        await client.send("a")
        assert [await client.receive() for _ in range(21)] == [
            *(f"a{number}" for number in range(20)),
            LARGE,
        ]
        assert await client.close() == 1000
        assert await served.outcome() is None
