"""wsnursery's."""

import anyio

from wsnursery import Room, WebSocket, websocket_app

from . import parse_push


@websocket_app
async def app(ws: WebSocket) -> None:
    """Serve one connection."""
    await ws.accept()
    await _HANDLERS[ws.scope["path"]](ws)


async def _echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def _push(ws: WebSocket) -> None:
    async for message in ws:
        assert isinstance(message, str)
        count, payload = parse_push(message)
        for _ in range(count):
            await ws.send(payload)


async def _receive(ws: WebSocket) -> None:
    async for message in ws:
        if message == "end":
            await ws.send("end")


async def _broadcast(ws: WebSocket) -> None:
    with _room.joined(ws):
        async for message in ws:
            _room.publish(message)


async def _stalled(ws: WebSocket) -> None:
    """The client does not read, so this message waits for it, and all others behind it."""
    ws.send_nowait("x" * (1 << 20))
    with _room.joined(ws, overflow="drop_oldest"):
        await anyio.sleep_forever()


_room = Room("all")
_HANDLERS = {
    "/echo": _echo,
    "/push": _push,
    "/receive": _receive,
    "/broadcast": _broadcast,
    "/stalled": _stalled,
}
