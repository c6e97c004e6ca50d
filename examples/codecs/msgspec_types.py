"""Typed messages with msgspec.

``pip install msgspec``, then ``hypercorn -k trio examples.codecs.msgspec_types:app``.
"""

import msgspec

from wsnursery import InvalidPayload, Options, WebSocket, websocket_app


class Say(msgspec.Struct, tag="say"):
    text: str


class Leave(msgspec.Struct, tag="leave"):
    pass


@websocket_app(options=Options(codec=msgspec.json))
async def app(ws: WebSocket) -> None:
    async def complain(exc: InvalidPayload) -> None:
        await ws.send_json({"error": str(exc.__cause__)})

    await ws.accept()
    command: Say | Leave
    async for command in ws.iter_as(Say | Leave, on_invalid=complain):
        match command:
            case Say(text):
                await ws.send_json(Say(text.upper()))
            case Leave():
                await ws.close()
