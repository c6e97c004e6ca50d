"""An endpoint of FastAPI. Run it with ``hypercorn -k trio examples.frameworks.fastapi_app:app``."""

from contextlib import suppress
from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket

from examples.frameworks.feed import OPTIONS, talk
from wsnursery import WebSocketDisconnected
from wsnursery.starlette import open_websocket

app = FastAPI()


@app.get("/")
async def page() -> str:
    return "a page"


async def is_known(token: str = "") -> bool:
    return token == "secret"


@app.websocket("/feed/{name}")
async def feed(websocket: WebSocket, known: Annotated[bool, Depends(is_known)]) -> None:
    with suppress(WebSocketDisconnected):
        async with open_websocket(websocket, options=OPTIONS) as ws:
            if known:
                await talk(ws)
            else:
                await ws.reject(401)
