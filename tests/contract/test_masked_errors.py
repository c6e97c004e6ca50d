"""X4: an error of the application that is being handled when the disconnect is raised."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

import anyio
import pytest

from tests.contract._bench import block, in_chain
from wsnursery import Options, WebSocket, WebSocketDisconnected, testing, websocket_app


class Bug(Exception):
    """The application's own error."""


async def work(_message: object) -> None:
    await anyio.sleep(1)
    raise Bug("bug in work()")


async def report_and_raise(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        try:
            await work(message)
        except Exception as exc:
            await ws.send_json({"error": str(exc)})
            raise


async def last_message_in_finally(ws: WebSocket) -> None:
    await ws.accept()
    try:
        async for message in ws:
            await work(message)
    finally:
        await ws.send("bye")


async def in_a_child(ws: WebSocket) -> None:
    async def child(message: object) -> None:
        try:
            await work(message)
        except Exception as exc:
            await ws.send_json({"error": str(exc)})
            raise

    await ws.accept()
    async for message in ws:
        ws.start_soon(child, message)
        await anyio.sleep(2)  # while the reader is at work, no child is cancelled


async def in_finally_of_a_child(ws: WebSocket) -> None:
    async def child(message: object) -> None:
        try:
            await work(message)
        finally:
            await ws.send("bye")

    await ws.accept()
    async for message in ws:
        ws.start_soon(child, message)
        await anyio.sleep(2)  # while the reader is at work, no child is cancelled


class Session:
    """An object that sends a last message when it is exited."""

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws

    async def __aenter__(self) -> None:
        await self._ws.accept()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._ws.send("session over")


async def session_object(ws: WebSocket) -> None:
    async with Session(ws):
        async for message in ws:
            await work(message)


async def in_a_group(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work, message)
        except BaseException:
            await ws.send("it failed")
            raise


Handler = Callable[[WebSocket], Awaitable[None]]

IN_THE_BODY = [report_and_raise, last_message_in_finally, session_object, in_a_group]
HANDLERS = [*IN_THE_BODY, in_a_child, in_finally_of_a_child]

GONE: dict[str, Callable[[testing.Peer], None]] = {
    "closed": lambda peer: peer.close(1000),
    "vanished": lambda peer: peer.vanish(),
}


async def serve(handler: Handler, leaves: str) -> BaseException | None:
    """Give a handler one job; the client leaves before it is done."""
    async with testing.connect(websocket_app(handler, options=Options(grace_period=30))) as client:
        await client.send("job")
        await anyio.sleep(0.1)
        if leaves != "stays":
            GONE[leaves](client)
        with suppress(Exception):  # the test looks at it itself
            await client.app_finished()
    return client.exception


# contract: X4
@pytest.mark.parametrize("handler", HANDLERS)
async def test_while_the_client_stays_the_error_leaves(handler: Handler) -> None:
    assert in_chain(await serve(handler, "stays"), Bug)


# contract: X4, X8
@pytest.mark.parametrize("leaves", GONE)
@pytest.mark.parametrize("handler", HANDLERS)
async def test_the_app_logs_the_chain(
    handler: Handler, leaves: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await serve(handler, leaves) is None
    records = [r for r in caplog.records if r.name.startswith("wsnursery")]
    (warning,) = [record for record in records if record.levelno == logging.WARNING]
    assert warning.exc_info is not None
    assert in_chain(warning.exc_info[1], Bug)
    assert "bug in work()" in logging.Formatter().format(warning)


# contract: X8
@pytest.mark.parametrize("leaves", GONE)
async def test_a_client_that_leaves_without_an_error_is_no_warning(
    leaves: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def pushes(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send("tick")
            await anyio.sleep(1)

    assert await serve(pushes, leaves) is None
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def raised_by_block(handler: Handler, leaves: str) -> Exception | None:
    server = testing.Server()

    def leave() -> None:
        GONE[leaves](server.peer)

    async def body(ws: WebSocket) -> None:
        server_sends = server.peer.send_nowait
        ws.start_soon(_later, server_sends)
        await handler(ws)

    ended = await block(server, body, (0.5, leave), grace_period=30)
    return ended.error


async def _later(send: Callable[[str], None]) -> None:
    await anyio.sleep(0.1)
    send("job")


# contract: X4
@pytest.mark.parametrize("leaves", GONE)
@pytest.mark.parametrize("handler", IN_THE_BODY)
async def test_the_block_raises_it_with_the_context_kept(handler: Handler, leaves: str) -> None:
    error = await raised_by_block(handler, leaves)
    assert type(error) is WebSocketDisconnected
    assert in_chain(error, Bug)


# contract: X4
@pytest.mark.parametrize("leaves", GONE)
@pytest.mark.parametrize("handler", [in_a_child, in_finally_of_a_child])
async def test_the_block_raises_it_from_a_child_too(handler: Handler, leaves: str) -> None:
    assert in_chain(await raised_by_block(handler, leaves), Bug)


# contract: X4, X8
async def test_a_group_of_nothing_but_the_end_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def reads(ws: WebSocket) -> None:
        await ws.accept()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ws.receive_text)
                await anyio.sleep_forever()
        except BaseException:
            await ws.send("bye")
            raise

    async with testing.connect(websocket_app(reads)) as client:
        client.close()
        await client.app_finished()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
