"""A chat with names, presence and history that a client which stops reading cannot delay.

Open the page in two tabs. Run it with ``python -m examples.chat`` or with
``hypercorn -k trio examples.chat:app``.
"""

import json
from pathlib import Path
from typing import Any

import anyio

from wsnursery import Options, WebSocket, websocket_app
from wsnursery.rooms import Joined, Left, Member, MemoryEngine, Position, SharedRooms

PAGE = Path(__file__).with_suffix(".html").read_bytes()

MAX_NAME = 40  # characters


def placed(message: str | bytes, position: Position) -> str:
    """What the members are sent: with the position, a client can resume after it."""
    return f'{{"at":"{position}","said":{message!s}}}'


rooms = SharedRooms(MemoryEngine(), history=100, stamp=placed)


async def tell_who_is_here(ws: WebSocket) -> None:
    with rooms.presence("chat") as changes:
        await ws.send_json({"people": [person.metadata for person in rooms.present("chat")]})
        async for change in changes:
            match change:
                case Joined(person):
                    await ws.send_json({"joined": person.metadata})
                case Left(person):
                    await ws.send_json({"left": person.metadata})


async def tell_what_is_missing(ws: WebSocket, member: Member) -> None:
    while True:
        await ws.send_json({"missed": await member.missed()})


@websocket_app(options=Options(max_message_size=8192))
async def chat(ws: WebSocket) -> None:
    query = ws.query_params
    name = query.get("name", "somebody")[:MAX_NAME]
    await ws.accept()
    # A client whose queue is full is closed with 1013. The page then comes back with the position
    # of the last message that it has seen, and gets what followed.
    with rooms.joined(
        "chat", ws, metadata=name, replay=20, after=Position.parse(query.get("after", ""))
    ) as member:
        if member.position is not None:
            # Not `await ws.send`: no message may come between the position and its use.
            ws.send_nowait(json.dumps({"at": str(member.position)}))
        ws.start_soon(tell_who_is_here, ws)
        ws.start_soon(tell_what_is_missing, ws, member)
        async for text in ws:
            if isinstance(text, str):
                rooms.publish_json("chat", {"name": name, "text": text})


async def serve_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Run the rooms for as long as the server runs."""
    async with anyio.create_task_group() as group:
        await group.start(rooms.run)
        await chat(scope, receive, send)
        group.cancel_scope.cancel()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Dispatch by scope type, as any ASGI application may."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE})
    elif scope["type"] == "lifespan":
        await serve_lifespan(scope, receive, send)
    else:
        await chat(scope, receive, send)


if __name__ == "__main__":
    from examples import _serve

    _serve.main(app)
