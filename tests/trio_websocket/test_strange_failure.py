"""A failure that is not the handler's ends one connection, and not the server."""

import pytest
import trio

from wsnursery import WebSocket
from wsnursery.trio_websocket import serve


# contract: X8
def test_a_bug_in_a_handshake_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("wsnursery.trio_websocket._server.open_server", fails)

    async def handler(ws: WebSocket) -> None:
        raise AssertionError("there is no handshake")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(serve, handler, "127.0.0.1", 0)
            for _ in range(2):
                stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
                async with stream:
                    assert await stream.receive_some() == b""
            nursery.cancel_scope.cancel()

    trio.run(main)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["the connection of a client failed"] * 2
