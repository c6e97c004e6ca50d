"""The handlers that are shown and broken: a chat, and a test connection.

They are what a user of the library writes. A string from the page is something said, bytes are a
piece of work, which takes a moment.
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
"""Seconds between two ticks: the send buffer of a client that does not read fills soon."""

WORK_SECONDS = 0.04
"""Seconds that a piece of work takes: the receive buffer fills when it comes faster."""

CLEAN_UP_SECONDS = 0.3
"""Seconds that the clean-up of the ticker takes, so that one sees it."""

MAX_NAME = 30  # characters


def query_of(scope: Scope) -> dict[str, str]:
    """The query of a handshake."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))


def name_of(scope: Scope) -> str:
    """What the page calls this connection."""
    return query_of(scope).get("name", "").strip()[:MAX_NAME] or "somebody"


def kind_of(scope: Scope) -> str:
    """Which handler it wants: a key of `HANDLERS`."""
    return str(scope["path"]).strip("/")


def placed(message: str | bytes, position: Position) -> str:
    """What the members are sent: a page that was away asks for what followed its last position."""
    return f'{{"at":"{position}","said":{message!s}}}'


async def tick(ws: WebSocket) -> None:
    """A child that sends, and that has something to clean up."""
    number = 0
    try:
        while True:
            number += 1
            with suppress(anyio.WouldBlock):  # the client does not keep up: leave this one out
                ws.send_nowait(f'{{"tick":{number}}}')
            await anyio.sleep(TICK_SECONDS)
    finally:
        with anyio.move_on_after(1, shield=True):
            await anyio.sleep(CLEAN_UP_SECONDS)


async def tell_presence(ws: WebSocket, room: Room) -> None:
    """A child that sends who comes and goes."""
    with room.presence() as changes:
        await ws.send_json({"people": [member.metadata for member in room.members]})
        async for change in changes:
            what = "joined" if isinstance(change, Joined) else "left"
            await ws.send_json({what: change.who.metadata})


async def tell_missing(ws: WebSocket, member: Member) -> None:
    """A child that sends how much the client has missed."""
    while True:
        await ws.send_json({"missed": await member.missed()})


async def chat(ws: WebSocket, room: Room) -> None:
    """Somebody in the chat."""
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
    """A test connection, which is there to be broken."""
    await ws.accept()
    ws.start_soon(tick, ws)
    async for _message in ws:
        await anyio.sleep(WORK_SECONDS)


HANDLERS: dict[str, Callable[[WebSocket, Room], Awaitable[None]]] = {
    "chat": chat,
    "test": target,
}
"""By the path of the handshake."""
