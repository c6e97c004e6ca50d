"""Typed messages with pydantic.

``pip install pydantic``, then ``hypercorn -k trio examples.codecs.pydantic_types:app``.
"""

from typing import Annotated, Any, Literal

import pydantic_core
from pydantic import BaseModel, Field, TypeAdapter

from wsnursery import InvalidPayload, Options, WebSocket, websocket_app


class Pydantic:
    """Write models, dataclasses, dates and all other types that pydantic knows."""

    def encode(self, obj: Any, /) -> bytes:
        return pydantic_core.to_json(obj)

    def decode(self, message: str | bytes, /, *, type: Any = Any) -> Any:  # noqa: A002
        return TypeAdapter(type).validate_json(message)


class Say(BaseModel):
    kind: Literal["say"] = "say"
    text: Annotated[str, Field(max_length=500)]


class Leave(BaseModel):
    kind: Literal["leave"] = "leave"


COMMANDS: TypeAdapter[Say | Leave] = TypeAdapter(
    Annotated[Say | Leave, Field(discriminator="kind")]
)


@websocket_app(options=Options(codec=Pydantic()))
async def app(ws: WebSocket) -> None:
    async def complain(exc: InvalidPayload) -> None:
        await ws.send_json({"error": str(exc.__cause__)})

    await ws.accept()
    async for command in ws.iter_as(COMMANDS, on_invalid=complain):
        match command:
            case Say(text=text):
                await ws.send_json(Say(text=text.upper()))
            case Leave():
                await ws.close()
