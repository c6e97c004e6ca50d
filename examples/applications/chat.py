"""A chat in FastAPI: a cookie identifies the user, and pydantic checks the messages.

``pip install -e '.[hypercorn,starlette]' fastapi pydantic``, then
``python -m wsnursery serve -k trio examples.applications.chat:app``.

``POST /login?name=Ann`` sets the cookie. ``ws://.../rooms/lobby?after=POSITION`` is a room. A
client that reconnects sends the position of the last event that it has seen, and gets the later
events.
"""

import secrets
from typing import Annotated, Literal

from fastapi import Cookie, Depends, FastAPI, Response
from pydantic import BaseModel, Field, TypeAdapter

from wsnursery import InvalidPayload, Options, Room, WebSocket
from wsnursery.rooms import Position
from wsnursery.starlette import endpoint

ORIGINS = ["http://127.0.0.1:8000", "http://localhost:8000"]
"""The origins whose pages may connect with the cookie of a user."""

MAX_ROOMS = 1000

# --------------------------------------------------------------------------- messages


Name = Annotated[str, Field(min_length=1, max_length=40)]


class Say(BaseModel):
    kind: Literal["say"] = "say"
    text: Annotated[str, Field(min_length=1, max_length=2000)]


class Rename(BaseModel):
    kind: Literal["rename"] = "rename"
    name: Name


COMMANDS: TypeAdapter[Say | Rename] = TypeAdapter(
    Annotated[Say | Rename, Field(discriminator="kind")]
)


class Said(BaseModel):
    kind: Literal["said", "came", "left", "renamed"]
    who: str
    text: str = ""


def placed(message: str | bytes, position: Position) -> str:
    """Put the position into an event, so that a client can resume after it."""
    return f'{{"at":"{position}","event":{message!s}}}'


# A room exists as long as the process, because clients that reconnect need its history.
rooms: dict[str, Room] = {}


def room_of(name: str) -> Room | None:
    if name not in rooms and len(rooms) < MAX_ROOMS:
        rooms[name] = Room(name, history=200, stamp=placed)
    return rooms.get(name)


# ------------------------------------------------------------------------------ users

app = FastAPI()
sessions: dict[str, str] = {}


@app.post("/login")
async def login(
    name: Annotated[str, Field(min_length=1, max_length=40)], response: Response
) -> None:
    session = secrets.token_urlsafe()
    sessions[session] = name
    response.set_cookie("session", session, httponly=True, samesite="lax")


async def find_user(session: Annotated[str, Cookie()] = "") -> str | None:
    return sessions.get(session)


User = Annotated[str | None, Depends(find_user)]


@app.websocket("/rooms/{name}")
@endpoint(options=Options(allowed_origins=ORIGINS, max_message_size=16 * 1024))
async def chat(ws: WebSocket, name: str, user: User, after: str = "") -> None:
    room = room_of(name)
    if user is None or room is None:
        await ws.reject(401 if user is None else 503)
        return

    who = user

    def announce(kind: Literal["said", "came", "left", "renamed"], text: str = "") -> None:
        room.publish(Said(kind=kind, who=who, text=text).model_dump_json())

    async def complain(invalid: InvalidPayload) -> None:
        await ws.send_json({"error": str(invalid)})

    await ws.accept()
    with room.joined(ws, metadata=user, replay=20, after=Position.parse(after)):
        announce("came")
        try:
            async for command in ws.iter_as(COMMANDS, on_invalid=complain):
                match command:
                    case Say(text=text):
                        announce("said", text)
                    case Rename(name=name):
                        announce("renamed", name)
                        who = name
        finally:
            announce("left")
