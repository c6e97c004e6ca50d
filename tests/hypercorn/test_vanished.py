"""The kernel drops a vanished peer with an error that is not a `ConnectionError`."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from tests.hypercorn.test_in_place import Client
from wsnursery import WebSocket, WebSocketDisconnected, websocket_app
from wsnursery.hypercorn import Config, serve

Report = Callable[[object], None]


def raw(report: Report) -> Any:
    async def app(
        scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        try:
            await receive()
            await send({"type": "websocket.accept"})
            report(await receive())
        except BaseException as exc:
            report(exc)
            raise

    return app


def ours(report: Report) -> Any:
    @websocket_app
    async def app(ws: WebSocket) -> None:
        try:
            await ws.accept()
            await ws.receive()
        except BaseException as exc:
            report(exc)
            raise

    return app


# contract: D2
@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH])
@pytest.mark.parametrize("handler", [raw, ours])
async def test_its_handler_is_informed_and_not_cancelled(
    handler: Callable[[Report], Any],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Hypercorn's ping gets the error first, which used to end the connection's task group."""
    reports, outcomes = anyio.create_memory_object_stream[object](1)
    config = Config.from_mapping({"bind": "127.0.0.1:0", "websocket_ping_interval": 0.05})
    async with anyio.create_task_group() as tasks:
        (address,) = await tasks.start(partial(serve, handler(reports.send_nowait), config))
        port = int(address.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await Client(stream).open()

            async def fail(writer: asyncio.StreamWriter) -> None:
                transport: Any = writer.transport
                transport._force_close(OSError(number, "the peer does not answer"))
                raise OSError(number, "the peer does not answer")

            monkeypatch.setattr(asyncio.StreamWriter, "drain", fail)
            with anyio.fail_after(5):
                outcome = await outcomes.receive()
            monkeypatch.undo()
        tasks.cancel_scope.cancel()
    reports.close()
    outcomes.close()
    if isinstance(outcome, dict):
        assert outcome["code"] == 1006
    else:
        assert type(outcome) is WebSocketDisconnected
    assert "because serving it failed" not in caplog.text


@pytest.fixture
def anyio_backend() -> str:
    """trio has one exception for all errors of a socket. Sockets need real time."""
    return "asyncio"
