"""Clients of other libraries with our own server over trio-websocket, without ASGI."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
import trio
import trio_websocket
import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.servers._trio_server import MEGABYTE, REASON, TrioServer, trio_server

MESSAGES = ("text", REASON, b"bytes", "", b"", MEGABYTE)
CHAT = Subprotocol("chat")

Told = tuple[int | None, str | None]
"""Code and reason of the close."""


@pytest.fixture(scope="module")
def shared_server() -> Iterator[TrioServer]:
    with trio_server() as started:
        yield started


@pytest.fixture
def server(shared_server: TrioServer) -> Iterator[TrioServer]:
    """It must hold, after the test, no more than before."""
    before = shared_server.settled_stats()
    yield shared_server
    shared_server.assert_nothing_left(before)


# Each library twice: a conversation that it closes itself, and the close that it is told.


async def talk_by_aiohttp(url: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=["chat"], compress=15) as client,
    ):
        assert (client.protocol, client.compress) == ("chat", 0)  # it is turned down
        for message in MESSAGES:
            if isinstance(message, str):
                await client.send_str(message)
            else:
                await client.send_bytes(message)
            assert (await client.receive(5)).data == message
        await client.close(code=4001, message=REASON.encode())
        assert client.close_code == 4001


async def listen_by_aiohttp(url: str) -> Told:
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as client:
        await client.send_str("go")
        message = await client.receive(5)
        assert message.type is aiohttp.WSMsgType.CLOSE
        return message.data, message.extra


async def talk_by_websockets(url: str) -> None:
    async with websockets.asyncio.client.connect(url, subprotocols=[CHAT], max_size=None) as client:
        assert (client.subprotocol, client.protocol.extensions) == (CHAT, [])
        for message in MESSAGES:
            await client.send(message)
            assert await client.recv() == message
        await client.close(4001, REASON)
        assert (client.close_code, client.close_reason) == (4001, REASON)


async def listen_by_websockets(url: str) -> Told:
    async with websockets.asyncio.client.connect(url) as client:
        await client.send("go")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        return client.close_code, client.close_reason


def talk_by_websockets_sync(url: str) -> None:
    with websockets.sync.client.connect(url, subprotocols=[CHAT], max_size=None) as client:
        assert (client.subprotocol, client.protocol.extensions) == (CHAT, [])
        for message in MESSAGES:
            client.send(message)
            assert client.recv(timeout=5) == message
        client.close(4001, REASON)
        assert (client.close_code, client.close_reason) == (4001, REASON)


def listen_by_websockets_sync(url: str) -> Told:
    with websockets.sync.client.connect(url) as client:
        client.send("go")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
        return client.close_code, client.close_reason


async def talk_by_trio_websocket(url: str) -> None:
    async with trio_websocket.open_websocket_url(url, subprotocols=["chat"]) as client:
        assert client.subprotocol == "chat"
        for message in MESSAGES:
            await client.send_message(message)
            assert await client.get_message() == message
        await client.aclose(4001, REASON)
        assert client.closed is not None
        assert (client.closed.code, client.closed.reason) == (4001, REASON)


async def listen_by_trio_websocket(url: str) -> Told:
    async with trio_websocket.open_websocket_url(url) as client:
        await client.send_message("go")
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await client.get_message()
        await client._stream.aclose()  # it leaves that to nobody when the server closes
        assert caught.value.reason is not None
        return caught.value.reason.code, caught.value.reason.reason


def on_trio(main: Any) -> Any:
    return lambda url: trio.run(main, url)


def on_asyncio(main: Any) -> Any:
    return lambda url: asyncio.run(main(url))


# contract: S1, R1, C4
@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(on_asyncio(talk_by_aiohttp), id="aiohttp"),
        pytest.param(on_asyncio(talk_by_websockets), id="websockets"),
        pytest.param(talk_by_websockets_sync, id="websockets sync"),
        pytest.param(on_trio(talk_by_trio_websocket), id="trio-websocket"),
    ],
)
def test_client_that_talks_and_closes(server: TrioServer, talk: Callable[[str], None]) -> None:
    connection = server.new_id()
    talk(server.url("/echo", connection))
    server.wait_for(connection, "child ended")
    end = server.wait_for(connection, "ended")
    assert (end["code"], end["reason"]) == (4001, REASON)


# contract: D6
@pytest.mark.parametrize(
    "listen",
    [
        pytest.param(on_asyncio(listen_by_aiohttp), id="aiohttp"),
        pytest.param(on_asyncio(listen_by_websockets), id="websockets"),
        pytest.param(listen_by_websockets_sync, id="websockets sync"),
        pytest.param(on_trio(listen_by_trio_websocket), id="trio-websocket"),
    ],
)
def test_client_that_is_told_why(server: TrioServer, listen: Callable[[str], Told]) -> None:
    connection = server.new_id()
    assert listen(server.url("/close", connection)) == (4002, REASON)
    server.wait_for(connection, "child ended")
    end = server.wait_for(connection, "ended")
    assert (end["code"], end["reason"]) == (4002, REASON)
