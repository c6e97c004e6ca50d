"""Peers for the tests over trio-websocket: wsproto by hand, over streams in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import trio
import trio_websocket
from trio.testing import memory_stream_pair
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
)

from wsnursery import Options, WebSocket
from wsnursery.asgi import Handler
from wsnursery.trio_websocket._client import client_over
from wsnursery.trio_websocket._reader import shielded_nursery
from wsnursery.trio_websocket._server import TrioServer
from wsnursery.trio_websocket._url import parse_url

URL = "ws://example.org/chat?room=1"


class Peer:
    """One end of a stream, which the test controls."""

    def __init__(self, stream: trio.abc.Stream, kind: ConnectionType) -> None:
        self.stream = stream
        self._protocol = WSConnection(kind)
        self._events: list[Event] = []
        self.closing = False
        self.answer: Any = None
        """As a client: what the server answered to the handshake."""

    @classmethod
    def server(cls, stream: trio.abc.Stream) -> Self:
        return cls(stream, ConnectionType.SERVER)

    @classmethod
    def client(cls, stream: trio.abc.Stream) -> Self:
        return cls(stream, ConnectionType.CLIENT)

    async def send(self, *events: Event) -> None:
        """All of them in one packet."""
        await self.stream.send_all(b"".join(map(self._protocol.send, events)))

    async def next(self) -> Any:
        """The next event, `None` at the end of the stream. The test knows its type."""
        while not self._events:
            data = await self.stream.receive_some()
            if not data:
                return None
            self._protocol.receive_data(bytes(data))
            self._events += self._protocol.events()
        return self._events.pop(0)

    async def close_frame(self) -> tuple[int, str]:
        """Skip to the close frame: code and reason."""
        while True:
            event = await self.next()
            assert event is not None, "the stream ended without a close frame"
            if isinstance(event, CloseConnection):
                return event.code, event.reason or ""

    async def accept(self, **answer: Any) -> Request:
        """As a server: complete the handshake."""
        request = await self.next()
        assert isinstance(request, Request)
        await self.send(AcceptConnection(**answer))
        return request

    async def reject(self, status: int, body: bytes) -> None:
        """As a server: deny the handshake."""
        assert isinstance(await self.next(), Request)
        length = str(len(body)).encode()
        await self.send(
            RejectConnection(
                status_code=status, headers=[(b"content-length", length)], has_body=True
            ),
            RejectData(data=body),
        )

    async def open(self, target: str = "/", **handshake: Any) -> Any:
        """As a client: ask for a WebSocket, give the answer."""
        await self.send(Request(host="example.org", target=target, **handshake))
        return await self.next()

    async def serve(self, *, answer_pings: bool = True) -> None:
        """Echo until the close, and answer it."""
        while (event := await self.next()) is not None:
            if isinstance(event, CloseConnection | Ping):
                if answer_pings or isinstance(event, CloseConnection):
                    await self.send(event.response())
            elif isinstance(event, Message):
                await self.send(
                    type(event)(data=event.data, message_finished=event.message_finished)
                )
            else:
                assert isinstance(event, Pong)

    async def vanish(self) -> None:
        """End of stream, without a close frame."""
        await self.stream.aclose()


async def bare_client(
    nursery: trio.Nursery, stream: trio.abc.Stream, **handshake: Any
) -> trio_websocket.WebSocketConnection:
    """A client of trio-websocket alone."""
    socket: Any = stream  # what it is annotated with; any stream will do
    return await trio_websocket.wrap_client_stream(
        nursery, socket, "example.org", "/room?1", **handshake
    )


@asynccontextmanager
async def client(
    options: Options = Options(), *, url: str = URL, **answer: Any
) -> AsyncGenerator[tuple[WebSocket, Peer]]:
    """Our client, connected to a peer; an exception leaves as it left the client's block."""
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)
    offered = [answer["subprotocol"]] if "subprotocol" in answer else []
    async with shielded_nursery() as nursery:
        nursery.start_soon(partial(peer.accept, **answer))
        async with client_over(ours, parse_url(url), offered, [], options) as ws:
            yield ws, peer


@asynccontextmanager
async def serving(
    handler: Handler, options: Options = Options(), **handshake: Any
) -> AsyncGenerator[Peer]:
    """A peer as the client of our server; leaving waits for the end of the connection."""
    ours, theirs = memory_stream_pair()
    peer = Peer.client(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(TrioServer(handler, options).serve_stream, ours)
        peer.answer = await peer.open(**handshake)
        yield peer
