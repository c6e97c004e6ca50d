"""A chat in FastAPI: a cookie says who it is, pydantic what may be said.

``pip install fastapi pydantic 'wsnursery[hypercorn,starlette]'``, then
``python -m wsnursery serve -k trio examples.applications.chat:app``.

``POST /login?name=Ann`` sets the cookie. ``ws://.../rooms/lobby?after=POSITION`` is a room: a
client that comes back names the last event that it has seen, and gets what followed.
"""

import secrets
from typing import Annotated, Literal

from fastapi import Cookie, Depends, FastAPI, Response
from pydantic import BaseModel, Field, TypeAdapter

from wsnursery import InvalidPayload, Options, Room, WebSocket
from wsnursery.rooms import Position
from wsnursery.starlette import endpoint

ORIGINS = ["http://127.0.0.1:8000", "http://localhost:8000"]
"""Whose pages may connect with the cookie of a user."""

MAX_ROOMS = 1000

# ----------------------------------------------------------------------- what is said


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
    """What the members are sent: with the position a client can come back."""
    return f'{{"at":"{position}","event":{message!s}}}'


# A room lives for as long as the process, because its history is for those that come back.
rooms: dict[str, Room] = {}


def room_of(name: str) -> Room | None:
    if name not in rooms and len(rooms) < MAX_ROOMS:
        rooms[name] = Room(name, history=200, stamp=placed)
    return rooms.get(name)


# ----------------------------------------------------------------------- who says it

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

    def tell(kind: Literal["said", "came", "left", "renamed"], text: str = "") -> None:
        room.publish(Said(kind=kind, who=who, text=text).model_dump_json())

    async def complain(invalid: InvalidPayload) -> None:
        await ws.send_json({"error": str(invalid)})

    await ws.accept()
    with room.joined(ws, metadata=user, replay=20, after=Position.parse(after)):
        tell("came")
        try:
            async for command in ws.iter_as(COMMANDS, on_invalid=complain):
                match command:
                    case Say(text=text):
                        tell("said", text)
                    case Rename(name=name):
                        tell("renamed", name)
                        who = name
        finally:
            tell("left")
