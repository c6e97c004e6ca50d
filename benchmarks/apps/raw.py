"""A hand-written loop over ASGI's `receive` and `send`, the fastest possible program."""

from typing import Any

from . import parse_push


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve one scope."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await _HANDLERS[scope["path"]](receive, send)


async def _echo(receive: Any, send: Any) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def _push(receive: Any, send: Any) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        count, payload = parse_push(event["text"])
        for _ in range(count):
            await send({"type": "websocket.send", "text": payload})


async def _receive(receive: Any, send: Any) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        if event["text"] == "end":
            await send({"type": "websocket.send", "text": "end"})


async def _broadcast(receive: Any, send: Any) -> None:
    _members[send] = None
    try:
        while (event := await receive())["type"] == "websocket.receive":
            for member in list(_members):
                await member({"type": "websocket.send", "text": event["text"]})
    finally:
        del _members[send]


async def lifespan(receive: Any, send: Any) -> None:
    """Serve the lifespan scope."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


_HANDLERS = {"/echo": _echo, "/push": _push, "/receive": _receive, "/broadcast": _broadcast}
_members: dict[Any, None] = {}
