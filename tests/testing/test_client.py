"""connect(): a whole application and a client."""

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as StarletteWebSocket
from starlette.websockets import WebSocketDisconnect

from wsnursery import testing
from wsnursery.testing._transcript import attached


async def echo(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") is not None:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


def accepting(handler):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await handler(receive, send)

    return app


@pytest.mark.parametrize("personality", testing.BASIC + testing.SERVERS, ids=lambda p: p.name)
async def test_echo(personality):
    async with testing.connect(echo, personality=personality) as client:
        assert client.accepted
        await client.send("hello")
        assert await client.receive() == "hello"
        await client.send(b"\x00")
        assert await client.receive() == b"\x00"
    assert client.exception is None
    assert client.transcript.lines[:6] == [
        "app connect",
        "app accept",
        "peer send 'hello'",
        "app receive 'hello'",
        "app send 'hello'",
        "peer send b'\\x00'",
    ]


async def test_starlette():
    async def endpoint(ws: StarletteWebSocket):
        await ws.accept(subprotocol="chat", headers=[(b"x-a", b"b")])
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except WebSocketDisconnect as error:
            codes.append((error.code, error.reason))

    codes: list[tuple[int, str | None]] = []
    app = Starlette(routes=[WebSocketRoute("/ws", endpoint)])
    async with testing.connect(
        app, path="/ws", subprotocols=["chat"], personality=testing.UVICORN
    ) as client:
        assert client.subprotocol == "chat"
        assert client.response_headers == [(b"x-a", b"b")]
        await client.send("hi")
        assert await client.receive() == "hi"
        client.close(4001, "bye")
        await client.app_finished()
    assert codes == [(4001, "bye")]


async def test_denied():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.close"})

    with pytest.raises(testing.HandshakeDenied) as caught:
        async with testing.connect(app):
            pass
    assert caught.value.status == 403


async def test_what_leaves_the_block_carries_what_crossed_the_wire():
    async def fail(receive, send):
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^no$") as from_app:
        async with testing.connect(accepting(fail)):
            pass
    with pytest.raises(KeyError) as from_test:
        async with testing.connect(echo):
            raise KeyError("mine")
    assert "app accept" in attached(from_app.value)[0]
    assert "app accept" in attached(from_test.value)[0]


async def test_the_application_exception_is_raised_with_its_traceback():
    async def boom(receive, send):
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom") as caught:
        async with testing.connect(accepting(boom)) as client:
            with pytest.raises(testing.ConnectionEnded):
                await client.receive()
    assert caught.traceback[-1].name == "boom"


async def test_never_accepts():
    async def app(scope, receive, send):
        await anyio.sleep_forever()

    with pytest.raises(
        testing.ApplicationStuck, match=r"neither accepted nor denied .*test_client"
    ):
        async with testing.connect(app):
            pass


async def test_never_ends():
    async def stay(receive, send):
        await anyio.sleep_forever()

    with pytest.raises(testing.ApplicationStuck, match=r"did not end .* it waits in .*stay"):
        async with testing.connect(accepting(stay)):
            pass


async def test_the_applications_error_can_be_taken():
    async def boom(receive, send):
        await receive()
        raise ValueError("boom")

    async with testing.connect(accepting(boom)) as client:
        assert client.exception is None
        client.vanish()
        with pytest.raises(ValueError, match="boom"):
            await client.app_finished()
        assert isinstance(client.exception, ValueError)


async def test_the_handshake_can_be_watched():
    async with testing.connect(echo, wait_for_accept=False) as client:
        assert not client.accepted
        await client.handshake()
        assert client.accepted


async def test_an_error_during_the_handshake():
    async def app(scope, receive, send):
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        async with testing.connect(app):
            pass


async def test_no_answer_to_the_handshake():
    async def app(scope, receive, send):
        pass

    with pytest.raises(testing.HandshakeDenied, match="500"):
        async with testing.connect(app):
            pass


async def test_the_error_of_the_test():
    with pytest.raises(ZeroDivisionError):
        async with testing.connect(echo):
            raise ZeroDivisionError


async def test_the_application_cannot_unwind_without_an_error():
    async def boom(receive, send):
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom") as caught:
        async with testing.connect(accepting(boom)):
            raise ZeroDivisionError
    assert isinstance(caught.value.__context__, ZeroDivisionError)


async def test_the_server_cancels_the_application():
    async def stay(receive, send):
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    ended: list[bool] = []
    async with testing.connect(accepting(stay)) as client:
        client.cancel_app()
        await client.app_finished()
        with pytest.raises(testing.ConnectionEnded):
            await client.receive()
    assert ended == [True]
