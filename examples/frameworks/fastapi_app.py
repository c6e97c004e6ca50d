"""An endpoint of FastAPI with dependencies.

Run it with ``hypercorn -k trio examples.frameworks.fastapi_app:app``.
"""

from contextlib import suppress
from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket, WebSocketException

from examples.frameworks.feed import OPTIONS, push_and_answer
from wsnursery import WebSocketDisconnected
from wsnursery.starlette import open_websocket

app = FastAPI()


@app.get("/")
async def page() -> str:
    return "a page"


