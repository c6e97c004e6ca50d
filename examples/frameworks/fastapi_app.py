"""A router of FastAPI. Run it with ``hypercorn -k trio examples.frameworks.fastapi_app:app``."""

from typing import Annotated

from fastapi import APIRouter, Cookie, Depends, FastAPI

from examples.frameworks.feed import OPTIONS, talk
from wsnursery import WebSocket
from wsnursery.starlette import endpoint

app = FastAPI()
router = APIRouter(prefix="/feed")


@app.get("/")
async def page() -> str:
    return "a page"


async def is_known(token: str = "", session: Annotated[str, Cookie()] = "") -> bool:
    return "secret" in (token, session)


@router.websocket("/{name}")
@endpoint(options=OPTIONS)
async def feed(ws: WebSocket, name: str, known: Annotated[bool, Depends(is_known)]) -> None:
    if known:
        await talk(ws)
    else:
        await ws.reject(401)


app.include_router(router)
