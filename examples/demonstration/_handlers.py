"""The handlers that are shown and broken: a chat, and a test connection.

They look like the handlers of a user of the library. A string from the page is a chat message.
Bytes are a piece of work, which takes a moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import parse_qsl

import anyio

from wsnursery import Room, WebSocket
from wsnursery.rooms import Joined, Member, Position

from ._asgi import Scope

TICK_SECONDS = 0.25
"""Seconds between two ticks, short enough to fill the send buffer of a stuck client soon."""

WORK_SECONDS = 0.04
"""Seconds that a piece of work takes. Faster messages fill the receive buffer."""

CLEAN_UP_SECONDS = 0.3
"""Seconds that the clean-up of the ticker takes, long enough to see it."""

MAX_NAME = 30  # characters


def query_of(scope: Scope) -> dict[str, str]:
    """Parse the query of a handshake."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))


def name_of(scope: Scope) -> str:
    """Return the name that the page gives to this connection."""
    return query_of(scope).get("name", "").strip()[:MAX_NAME] or "somebody"


def kind_of(scope: Scope) -> str:
    """Return the kind of handler that the page requests: a key of `HANDLERS`."""
    return str(scope["path"]).strip("/")


def placed(message: str | bytes, position: Position) -> str:
    """Put the position into a message, so that a page can resume after it."""
    return f'{{"at":"{position}","said":{message!s}}}'


async def tick(ws: WebSocket) -> None:
    """Send ticks, as a child that has something to clean up."""
    number = 0
    try:
        while True:
            number += 1
            with suppress(anyio.WouldBlock):  # the client does not keep up: skip this tick
                ws.send_nowait(f'{{"tick":{number}}}')
            await anyio.sleep(TICK_SECONDS)
    finally:
        with anyio.move_on_after(1, shield=True):
            await anyio.sleep(CLEAN_UP_SECONDS)


async def tell_presence(ws: WebSocket, room: Room) -> None:
    """Send the presence of the room, as a child."""
    with room.presence() as changes:
        await ws.send_json({"people": [member.metadata for member in room.members]})
        async for change in changes:
            what = "joined" if isinstance(change, Joined) else "left"
            await ws.send_json({what: change.who.metadata})


async def tell_missing(ws: WebSocket, member: Member) -> None:
    """Send how many messages the client has missed, as a child."""
    while True:
        await ws.send_json({"missed": await member.missed()})


async def chat(ws: WebSocket, room: Room) -> None:
    """Serve a member of the chat."""
    query, name = query_of(ws.scope), name_of(ws.scope)
    await ws.accept()
    await ws.send_json({"you": str(ws.id)})
    with room.joined(
        ws,
        metadata=name,
        replay=5,
        after=Position.parse(query.get("after", "")),
    ) as member:
        ws.start_soon(tick, ws)
        ws.start_soon(tell_presence, ws, room)
        ws.start_soon(tell_missing, ws, member)
        async for message in ws:
            if isinstance(message, str):
                room.publish_json({"name": name, "text": message})
            else:
                await anyio.sleep(WORK_SECONDS)


async def target(ws: WebSocket, _: Room) -> None:
    """Serve a test connection, which exists only to be broken."""
    await ws.accept()
    ws.start_soon(tick, ws)
    async for _message in ws:
        await anyio.sleep(WORK_SECONDS)


HANDLERS: dict[str, Callable[[WebSocket, Room], Awaitable[None]]] = {
    "chat": chat,
    "test": target,
}
"""The handlers by the path of the handshake."""
