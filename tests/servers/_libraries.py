"""One small client on every library: the same conversation, and the same ways to leave."""

import asyncio
import importlib.util
import json
import shutil
import subprocess
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
import trio

from tests.servers._harness import ROOT
from wsnursery.trio_websocket import connect as connect_by_wsnursery

MEGABYTE = bytes(range(256)) * 4096
REASON = "ciào \N{WAVING HAND SIGN}"
MESSAGES = ("text", REASON, b"bytes", "", b"", MEGABYTE)
SECONDS = 10

SeenClose = tuple[int | None, str | None]
"""Code and reason of a close."""


class Client(Protocol):
    """A connection that was opened with the subprotocol "chat" on offer."""

    subprotocol: str | None
    compressed: bool
    """Whether permessage-deflate was negotiated."""

    @abstractmethod
    async def send(self, message: str | bytes) -> None: ...

    @abstractmethod
    async def receive(self) -> str | bytes: ...

    @abstractmethod
    async def close(self, code: int, reason: str) -> None: ...

    @abstractmethod
    async def seen_close(self) -> SeenClose:
        """Wait until the server closes."""


Connect = Callable[[str], AbstractAsyncContextManager[Client]]


@dataclass(frozen=True)
class Library:
    """What a test does with a library.

    Attributes:
        talk: has a conversation with an echo and closes it with 4001; returns whether it was
            compressed.
        listen: sends one message and returns the close that it gets.
        needs: the module that must be installed.
    """

    talk: Callable[[str], bool]
    listen: Callable[[str], SeenClose]
    needs: str | None = None

    def require(self) -> None:
        """Skip the test if the library is not there."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            pytest.skip(f"{self.needs} is not installed: pip install -r requirements/servers.txt")


async def talk(connect: Connect, url: str) -> bool:
    async with connect(url) as client:
        assert client.subprotocol == "chat"
        for message in MESSAGES:
            await client.send(message)
            assert await client.receive() == message
        await client.close(4001, REASON)
        return client.compressed


async def listen(connect: Connect, url: str) -> SeenClose:
    async with connect(url) as client:
        await client.send(REASON)
        return await client.seen_close()


def on_asyncio(connect: Connect, needs: str) -> Library:
    def run(main: Callable[[Connect, str], Awaitable[Any]]) -> Callable[[str], Any]:
        return lambda url: asyncio.run(asyncio.wait_for(main(connect, url), SECONDS))

    return Library(run(talk), run(listen), needs)


def on_trio(connect: Connect, needs: str) -> Library:
    def run(main: Callable[[Connect, str], Awaitable[Any]]) -> Callable[[str], Any]:
        async def timed(url: str) -> Any:
            with trio.fail_after(SECONDS):
                return await main(connect, url)

        return lambda url: trio.run(timed, url)

    return Library(run(talk), run(listen), needs)


# A library that blocks does so in its methods here, too: it has the process for itself.


class ByAiohttp:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.subprotocol = connection.protocol
        self.compressed = connection.compress > 0

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._connection.send_str(message)
        else:
            await self._connection.send_bytes(message)

    async def receive(self) -> Any:
        return (await self._connection.receive()).data

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code=code, message=reason.encode())
        assert self._connection.close_code == code

    async def seen_close(self) -> SeenClose:
        import aiohttp

        message = await self._connection.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        return message.data, message.extra


@asynccontextmanager
async def connect_by_aiohttp(url: str) -> AsyncIterator[Client]:
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=["chat"], compress=15) as connection,
    ):
        yield ByAiohttp(connection)


class ByWebsockets:
    """The asyncio and the trio connection have the same methods."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol
        self.compressed = bool(connection.protocol.extensions)

    async def send(self, message: str | bytes) -> None:
        await self._connection.send(message)

    async def receive(self) -> Any:
        return await self._connection.recv()

    async def close(self, code: int, reason: str) -> None:
        close = getattr(self._connection, "aclose", None) or self._connection.close
        await close(code, reason)
        assert (self._connection.close_code, self._connection.close_reason) == (code, reason)

    async def seen_close(self) -> SeenClose:
        from websockets.exceptions import ConnectionClosed

        with pytest.raises(ConnectionClosed):
            await self._connection.recv()
        return self._connection.close_code, self._connection.close_reason


@asynccontextmanager
async def connect_by_websockets(url: str) -> AsyncIterator[Client]:
    from websockets.asyncio.client import connect
    from websockets.typing import Subprotocol

    async with connect(url, subprotocols=[Subprotocol("chat")], max_size=None) as connection:
        yield ByWebsockets(connection)


@asynccontextmanager
async def connect_by_websockets_trio(url: str) -> AsyncIterator[Client]:
    from websockets.trio.client import connect
    from websockets.typing import Subprotocol

    async with connect(url, subprotocols=[Subprotocol("chat")], max_size=None) as connection:
        yield ByWebsockets(connection)


class ByWebsocketsSync:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol
        self.compressed = bool(connection.protocol.extensions)

    async def send(self, message: str | bytes) -> None:
        self._connection.send(message)

    async def receive(self) -> Any:
        return self._connection.recv(timeout=SECONDS)

    async def close(self, code: int, reason: str) -> None:
        self._connection.close(code, reason)
        assert (self._connection.close_code, self._connection.close_reason) == (code, reason)

    async def seen_close(self) -> SeenClose:
        from websockets.exceptions import ConnectionClosed

        with pytest.raises(ConnectionClosed):
            self._connection.recv(timeout=SECONDS)
        return self._connection.close_code, self._connection.close_reason


@asynccontextmanager
async def connect_by_websockets_sync(url: str) -> AsyncIterator[Client]:
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    with connect(url, subprotocols=[Subprotocol("chat")], max_size=None) as connection:
        yield ByWebsocketsSync(connection)


class ByTrioWebsocket:
    compressed = False  # it offers none

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        await self._connection.send_message(message)

    async def receive(self) -> Any:
        return await self._connection.get_message()

    async def close(self, code: int, reason: str) -> None:
        await self._connection.aclose(code, reason)
        closed = self._connection.closed
        assert (closed.code, closed.reason) == (code, reason)

    async def seen_close(self) -> SeenClose:
        import trio_websocket

        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await self._connection.get_message()
        await self._connection._stream.aclose()  # it does not do so itself when the server closes
        assert caught.value.reason is not None
        return caught.value.reason.code, caught.value.reason.reason


@asynccontextmanager
async def connect_by_trio_websocket(url: str) -> AsyncIterator[Client]:
    import trio_websocket

    async with trio_websocket.open_websocket_url(url, subprotocols=["chat"]) as connection:
        yield ByTrioWebsocket(connection)


class ByWsnursery:
    compressed = False  # trio-websocket offers none

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        await self._connection.send(message)

    async def receive(self) -> Any:
        return await self._connection.receive()

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    async def seen_close(self) -> SeenClose:
        assert [message async for message in self._connection] == []
        return self._connection.close_code, self._connection.close_reason


@asynccontextmanager
async def connect_by_ourselves(url: str) -> AsyncIterator[Client]:
    async with connect_by_wsnursery(url, subprotocols=["chat"]) as ws:
        yield ByWsnursery(ws)


class ByHttpxWs:
    compressed = False  # it offers none

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._connection.send_text(message)
        else:
            await self._connection.send_bytes(message)

    async def receive(self) -> Any:
        return (await self._connection.receive()).data

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    async def seen_close(self) -> SeenClose:
        import httpx_ws

        with pytest.raises(httpx_ws.WebSocketDisconnect) as caught:
            await self._connection.receive()
        return caught.value.code, caught.value.reason


@asynccontextmanager
async def connect_by_httpx_ws(url: str) -> AsyncIterator[Client]:
    import httpx_ws

    size = 2 * len(MEGABYTE)
    connecting: AbstractAsyncContextManager[Any] = httpx_ws.aconnect_ws(
        url, subprotocols=["chat"], max_message_size_bytes=size
    )
    async with connecting as connection:
        yield ByHttpxWs(connection)


class ByWebsocketClient:
    compressed = False  # it offers none

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._connection.send(message)
        else:
            self._connection.send_binary(message)

    async def receive(self) -> Any:
        return self._connection.recv()

    async def close(self, code: int, reason: str) -> None:
        self._connection.close(code, reason.encode())

    async def seen_close(self) -> SeenClose:
        import websocket

        opcode, data = self._connection.recv_data()
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        return int.from_bytes(data[:2]), data[2:].decode()


@asynccontextmanager
async def connect_by_websocket_client(url: str) -> AsyncIterator[Client]:
    import websocket

    connection: Any = websocket.create_connection(url, subprotocols=["chat"], timeout=SECONDS)
    try:
        yield ByWebsocketClient(connection)
    finally:
        connection.shutdown()  # its close() leaves the socket open when the server closed first


class ByPicows:
    """It has callbacks, and gives a message in frames."""

    compressed = False  # it offers none

    def __init__(self, transport: Any, frames: "asyncio.Queue[tuple[Any, bytes]]") -> None:
        import picows

        self._types = picows.WSMsgType
        self._transport = transport
        self._frames = frames
        self.subprotocol = transport.response.headers.get("sec-websocket-protocol")

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._transport.send(self._types.TEXT, message.encode())
        else:
            self._transport.send(self._types.BINARY, message)

    async def receive(self) -> Any:
        kind, payload = await self._frames.get()
        return payload.decode() if kind == self._types.TEXT else payload

    async def close(self, code: int, reason: str) -> None:
        self._transport.send_close(code, reason.encode())
        await self._transport.wait_disconnected()

    async def seen_close(self) -> SeenClose:
        kind, payload = await self._frames.get()
        assert kind == self._types.CLOSE
        code = int.from_bytes(payload[:2])
        self._transport.send_close(code)
        self._transport.disconnect()
        return code, payload[2:].decode()


@asynccontextmanager
async def connect_by_picows(url: str) -> AsyncIterator[Client]:
    import picows

    frames: asyncio.Queue[tuple[Any, bytes]] = asyncio.Queue()

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            assert frame.fin
            frames.put_nowait((frame.msg_type, frame.get_payload_as_bytes()))

    transport, _ = await picows.ws_connect(
        Listener, url, extra_headers={"Sec-WebSocket-Protocol": "chat"}
    )
    try:
        yield ByPicows(transport, frames)
    finally:
        transport.disconnect()
        await transport.wait_disconnected()


# ------------------------------------------------------------------------------------ node's ws

NODE_MODULES = ROOT / ".pytest_cache" / "d" / "node"
"""Where pytest keeps what `--cache-clear` clears."""

NODE_PROGRAM = """
const WebSocket = require('ws');
const [url, what, reason] = process.argv.slice(1);
const ws = new WebSocket(url, ['chat']);
const messages = ['text', reason, Buffer.from('bytes'), '', Buffer.alloc(0)];
messages.push(Buffer.alloc(1 << 20, Buffer.from([...Array(256).keys()])));
const fail = text => { console.error(text); process.exit(1); };
const ask = () => ws.send(messages[0]);
ws.on('open', () => {
    if (ws.protocol !== 'chat') fail('no subprotocol');
    what === 'talk' ? ask() : ws.send(reason);
});
ws.on('message', (data, isBinary) => {
    const expected = messages.shift();
    if (isBinary !== Buffer.isBuffer(expected)) fail('of another type');
    if (!data.equals(Buffer.from(expected))) fail('another message');
    messages.length ? ask() : ws.close(4001, reason);
});
ws.on('close', (code, reason) => console.log(JSON.stringify(
    {code, reason: reason.toString(), compressed: ws.extensions !== ''})));
"""


class Node(Library):
    """The package ws of node, installed by npm once."""

    def require(self) -> None:
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            pytest.skip("node and npm are not here")
        if not (NODE_MODULES / "node_modules" / "ws").exists():
            NODE_MODULES.mkdir(parents=True, exist_ok=True)
            command = [npm, "install", "--silent", "--prefix", str(NODE_MODULES), "ws@8"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"npm could not install ws: {done.stderr.strip()[-200:]}")


def run_node(url: str, what: str) -> dict[str, Any]:
    done = subprocess.run(
        ["node", "-e", NODE_PROGRAM, url, what, REASON],
        cwd=NODE_MODULES,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def talk_by_node(url: str) -> bool:
    result = run_node(url, "talk")
    assert (result["code"], result["reason"]) == (4001, REASON)
    compressed: bool = result["compressed"]
    return compressed


def listen_by_node(url: str) -> SeenClose:
    result = run_node(url, "listen")
    return result["code"], result["reason"]


LIBRARIES = {
    "aiohttp": on_asyncio(connect_by_aiohttp, "aiohttp"),
    "httpx-ws": on_asyncio(connect_by_httpx_ws, "httpx_ws"),
    "node ws": Node(talk_by_node, listen_by_node),
    "picows": on_asyncio(connect_by_picows, "picows"),
    "trio-websocket": on_trio(connect_by_trio_websocket, "trio_websocket"),
    "websocket-client": on_asyncio(connect_by_websocket_client, "websocket"),
    "websockets": on_asyncio(connect_by_websockets, "websockets"),
    "websockets sync": on_asyncio(connect_by_websockets_sync, "websockets"),
    "websockets trio": on_trio(connect_by_websockets_trio, "websockets.trio"),
    "wsnursery": on_trio(connect_by_ourselves, "trio_websocket"),
}

COMPRESSING = {"aiohttp", "node ws", "websockets", "websockets sync", "websockets trio"}
"""Those that offer permessage-deflate."""
