"""A chat with names, presence and history that a client which stops reading cannot hold up.

Open the page in two tabs. Run it with ``python -m examples.chat`` or with
``hypercorn -k trio examples.chat:app``.
"""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from wsnursery import Options, Room, WebSocket, websocket_app
from wsnursery.rooms import Joined, Left, Member

PAGE = Path(__file__).with_suffix(".html").read_bytes()

MAX_NAME = 40  # characters


def numbered(message: str | bytes, number: int) -> str:
    """What the members are sent: with the number, a client knows what to ask for after a break."""
    return f'{{"number":{number},"said":{message!s}}}'


room = Room("chat", history=100, stamp=numbered)


async def tell_who_is_here(ws: WebSocket) -> None:
    with room.presence() as changes:
        await ws.send_json({"people": [member.metadata for member in room.members]})
        async for change in changes:
            match change:
                case Joined(member):
                    await ws.send_json({"joined": member.metadata})
                case Left(member):
                    await ws.send_json({"left": member.metadata})


async def tell_what_is_missing(ws: WebSocket, member: Member) -> None:
    while True:
        await ws.send_json({"missed": await member.missed()})


@websocket_app(options=Options(max_message_size=8192))
async def chat(ws: WebSocket) -> None:
    query = dict(parse_qsl(str(ws.scope["query_string"], "latin-1")))
    name = query.get("name", "somebody")[:MAX_NAME]
    after = query.get("after", "")[:15]  # more digits than any number has
    await ws.accept()
    await ws.send_json({"epoch": room.epoch})
    # Whoever falls behind by a full queue is closed with 1013. The page then comes back with the
    # number of the last message it has seen, and gets what followed.
    with room.joined(
        ws,
        metadata=name,
        replay=20,
        after=int(after) if after.isdecimal() else None,
        epoch=query.get("epoch"),
    ) as member:
        ws.start_soon(tell_who_is_here, ws)
        ws.start_soon(tell_what_is_missing, ws, member)
        async for text in ws:
            if isinstance(text, str):
                room.publish_json({"name": name, "text": text})


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Dispatch by scope type, as any ASGI application may."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE})
    else:
        await chat(scope, receive, send)


if __name__ == "__main__":
    from examples import _serve

    _serve.main(app)
