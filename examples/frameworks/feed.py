"""The handler that the other files mount. It pushes, answers, and checks a token."""

import itertools

import anyio

from wsnursery import Options, WebSocket, websocket_app

OPTIONS = Options(allowed_origins=["https://example.org"])


async def tick(ws: WebSocket) -> None:
    for number in itertools.count(1):
        await ws.send(f"tick {number}")
        await anyio.sleep(1)


async def talk(ws: WebSocket) -> None:
    await ws.accept()
    ws.start_soon(tick, ws)
    async for message in ws:
        await ws.send(f"you said {message!r}")


@websocket_app(options=OPTIONS)
async def feed(ws: WebSocket) -> None:
    if ws.query_params.get("token") == "secret":
        await talk(ws)
    else:
        await ws.reject(401)
