"""A chat with names, presence and history that a client which stops reading cannot delay.

Open the page in two tabs. Run it with ``python -m examples.chat`` or with
``hypercorn -k trio examples.chat:app``.

With Redis, several workers and machines have one chat: ``python -m examples.chat --redis
redis://127.0.0.1``, or set ``CHAT_REDIS`` and run
``python -m wsnursery serve --workers 4 examples.chat:app``.
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from wsnursery import Options, WebSocket, websocket_app
from wsnursery.rooms import (
    Engine,
    Joined,
    Left,
    Member,
    MemoryEngine,
    Position,
    SharedRooms,
)

PAGE = Path(__file__).with_suffix(".html").read_bytes()

MAX_NAME = 40  # characters


def placed(message: str | bytes, position: Position) -> str:
    """Put the position into a message, so that a client can resume after it."""
    return f'{{"at":"{position}","said":{message!s}}}'


def make_engine() -> Engine:
    if url := os.environ.get("CHAT_REDIS"):
        from wsnursery.redis import RedisEngine  # needs wsnursery[redis]

        return RedisEngine(url, prefix="chat:")
    return MemoryEngine()


rooms = SharedRooms(make_engine(), history=100, stamp=placed)


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


@websocket_app(options=Options(max_message_size=8192), lifespan=rooms.running)
async def chat(ws: WebSocket) -> None:
    query = ws.query_params
    name = query.get("name", "somebody")[:MAX_NAME]
    await ws.accept()
    # A client whose queue is full is closed with 1013. The page then reconnects with the position
    # of the last message that it has seen, and gets the messages after it.
    with rooms.joined(
        "chat", ws, metadata=name, replay=20, after=Position.parse(query.get("after", ""))
    ) as member:
        if member.position is not None:
            # `send_nowait` is not a checkpoint, so no message can come before the position.
            ws.send_nowait(json.dumps({"at": str(member.position)}))
        ws.start_soon(tell_who_is_here, ws)
        ws.start_soon(tell_what_is_missing, ws, member)
        async for text in ws:
            if isinstance(text, str):
                rooms.publish_json("chat", {"name": name, "text": text})


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Dispatch by scope type, as any ASGI application may."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE})
    else:
        await chat(scope, receive, send)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A chat in the browser.")
    parser.add_argument("--redis", metavar="URL", help="share the chat with other processes")
    arguments, others = parser.parse_known_args()
    if arguments.redis:
        os.environ["CHAT_REDIS"] = arguments.redis
    sys.argv[1:] = others

    from examples import _serve

    # This module made its engine before CHAT_REDIS was set, so import it again.
    _serve.main(importlib.import_module("examples.chat").app)
