"""Two ends in memory, for every transport: what `check_transport` takes."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import trio
from anyio.streams.stapled import StapledObjectStream
from websockets.server import ServerProtocol
from wsproto import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Request, TextMessage

from examples.sansio_transport import shake_hands, websocket_over
from tests.trio_websocket._peers import URL, Peer
from wsnursery import Options, WebSocket, open_websocket, testing, transports
from wsnursery.testing import ConnectionEnded
from wsnursery.trio_websocket._client import client_over
from wsnursery.trio_websocket._handshaking import open_server
from wsnursery.trio_websocket._reader import BackgroundTasks, lingering, shielded_nursery
from wsnursery.trio_websocket._scope import server_scope
from wsnursery.trio_websocket._stream import WatchedStream
from wsnursery.trio_websocket._transport import TrioTransport
from wsnursery.trio_websocket._url import parse_url


@asynccontextmanager
async def accepted(ws: WebSocket) -> AsyncGenerator[WebSocket]:
    """A block in which the WebSocket is open."""
    async with ws:
        await ws.accept()
        yield ws


# ------------------------------------------------------------------------------------ the remotes


class FrameRemote:
    """The other end, frame by frame."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def send(self, message: str | bytes) -> None:
        event = TextMessage if isinstance(message, str) else BytesMessage
        await self._peer.send(event(data=message))  # type: ignore[arg-type]

    async def receive(self) -> str | bytes:
        parts: list[Any] = []
        while True:
            event = await self._peer.next()
            if event is None:
                raise ConnectionEnded(1006, "")
            if isinstance(event, CloseConnection):
                if not self._peer.closing:
                    with suppress(anyio.BrokenResourceError):  # it does not wait for an answer
                        await self._peer.send(event.response())
                raise ConnectionEnded(int(event.code), event.reason or "")
            if isinstance(event, Ping):
                await self._peer.send(event.response())
                continue
            parts.append(event.data)
            if event.message_finished:
                message: str | bytes = parts[0][:0].join(parts)
                return message

    async def close(self, code: int, reason: str) -> None:
        self._peer.closing = True
        await self._peer.send(CloseConnection(code=code, reason=reason))

    async def vanish(self) -> None:
        await self._peer.vanish()


class AsgiRemote:
    """The client of the testing kit's server."""

    def __init__(self, peer: testing.Peer) -> None:
        self._peer = peer

    async def send(self, message: str | bytes) -> None:
        await self._peer.send(message)

    async def receive(self) -> str | bytes:
        return await self._peer.receive()

    async def close(self, code: int, reason: str) -> None:
        await anyio.lowlevel.checkpoint()
        self._peer.close(code, reason)

    async def vanish(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._peer.vanish()


# -------------------------------------------------------------------------------------- the links


@asynccontextmanager
async def asgi(options: Options):
    server = testing.Server(personality=testing.UVICORN)
    ws = open_websocket(server.scope, server.receive, server.send, options=options)
    yield accepted(ws), AsgiRemote(server.peer)


@asynccontextmanager
async def trio_client(options: Options):
    ours, theirs = trio.testing.memory_stream_pair()
    peer = Peer(theirs, ConnectionType.SERVER)
    async with shielded_nursery() as nursery:
        nursery.start_soon(peer.accept)
        yield client_over(ours, parse_url(URL), [], [], options), FrameRemote(peer)


@asynccontextmanager
async def trio_server(options: Options):
    ours, theirs = trio.testing.memory_stream_pair()
    peer = Peer(theirs, ConnectionType.CLIENT)
    stream = WatchedStream(ours)
    async with shielded_nursery() as nursery:
        tasks = BackgroundTasks(nursery)
        await peer.send(Request(host="example.org", target="/"))
        request = await open_server(tasks, stream, options)
        assert request is not None
        transport = TrioTransport(
            request._connection,
            server_scope(request, ours),
            tasks,
            options,
            request=request,
            stream=stream,
        )

        @asynccontextmanager
        async def block():
            ws = transports.make_websocket(transport, options)
            async with lingering(stream, tasks, transport.sent_close), accepted(ws):
                await peer.next()  # the handshake's answer
                yield ws

        yield block(), FrameRemote(peer)


class BytePipe:
    """A memory stream of anyio with the methods that `Peer` uses."""

    def __init__(self, stream: StapledObjectStream[bytes]) -> None:
        self._stream = stream

    async def send_all(self, data: bytes) -> None:
        await self._stream.send(data)

    async def receive_some(self) -> bytes:
        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return b""

    async def aclose(self) -> None:
        await self._stream.aclose()


def pipes() -> tuple[StapledObjectStream[bytes], StapledObjectStream[bytes]]:
    there = anyio.create_memory_object_stream[bytes](math.inf)
    back = anyio.create_memory_object_stream[bytes](math.inf)
    return StapledObjectStream(there[0], back[1]), StapledObjectStream(back[0], there[1])


@asynccontextmanager
async def sansio(options: Options):
    ours, theirs = pipes()
    peer = Peer(BytePipe(theirs), ConnectionType.CLIENT)  # type: ignore[arg-type]
    await peer.send(Request(host="example.org", target="/"))
    protocol = ServerProtocol(max_size=options.max_message_size)
    request = await shake_hands(ours, protocol)
    assert request is not None

    @asynccontextmanager
    async def block():
        async with ours, accepted(websocket_over(ours, protocol, request, options)) as ws:
            await peer.next()
            yield ws

    async with theirs:
        yield block(), FrameRemote(peer)
