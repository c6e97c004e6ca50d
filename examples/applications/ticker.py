"""A price ticker on trio: each client chooses its symbols, and a slow one gets the newest prices.

``python -m wsnursery serve -k trio --workers 2 examples.applications.ticker:app`` serves it.
SIGTERM drains both workers: clients are told 1012, and come back to the next ones.

A client sends ``{"subscribe": "ACME"}`` and ``{"unsubscribe": "ACME"}``. ``GET /healthz`` answers
200, or 503 if the prices of this worker are old. Each worker has producers and rooms of its own.
"""

import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from wsnursery import Options, Room, Rooms, WebSocket, websocket_app
from wsnursery.rooms import Memberships, TooManyRooms

SYMBOLS = {"ACME": 100.0, "GLOBEX": 40.0, "INITECH": 7.5}
"""The prices at the start."""

SECONDS = 0.2
"""Between two prices of a symbol."""

STALE_SECONDS = 5.0
"""Without a new price for so long something is wrong with the feed."""

updated: dict[str, float] = {}
"""When each symbol had its newest price, on trio's clock."""

quotes = Rooms(lambda symbol: Room(symbol, local=True))


async def produce(symbol: str, price: float) -> None:
    """Stands for the feed of an exchange."""
    while True:
        price = round(price * random.uniform(0.99, 1.01), 2)  # noqa: S311 - not for cryptography
        # The key is what a newer message replaces, where a client has not been sent the older one.
        quotes.publish_json(symbol, {"symbol": symbol, "price": price}, key=symbol)
        updated[symbol] = trio.current_time()
        await trio.sleep(SECONDS)


@asynccontextmanager
async def producers() -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        for symbol, price in SYMBOLS.items():
            nursery.start_soon(produce, symbol, price)
        yield
        nursery.cancel_scope.cancel()


def obey(request: Any, subscribed: Memberships) -> str:
    """Do what a client asks for; return what is wrong with it, or nothing."""
    match request:
        case {"subscribe": str(symbol)} if symbol not in SYMBOLS:
            return f"there is no {symbol}"
        case {"subscribe": str(symbol)}:
            subscribed.join(symbol)
        case {"unsubscribe": str(symbol)}:
            subscribed.leave(symbol)
        case _:
            return 'send {"subscribe": "ACME"} or {"unsubscribe": "ACME"}'
    return ""


@websocket_app(
    options=Options(max_message_size=1024, send_buffer=32),
    lifespan=producers,
)
async def ticker(ws: WebSocket) -> None:
    await ws.accept()
    with quotes.memberships(ws, overflow="latest", limit=len(SYMBOLS)) as subscribed:
        async for message in ws:
            try:
                wrong = obey(json.loads(message), subscribed)
            except (ValueError, TooManyRooms) as exc:
                wrong = str(exc)
            if wrong:
                await ws.send_json({"error": wrong})


async def answer_health(send: Any) -> None:
    late = [at for at in updated.values() if trio.current_time() - at > STALE_SECONDS]
    healthy = len(updated) == len(SYMBOLS) and not late
    body = json.dumps({"healthy": healthy, "connections": len(ticker.connections)}).encode()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send(
        {"type": "http.response.start", "status": 200 if healthy else 503, "headers": headers}
    )
    await send({"type": "http.response.body", "body": body})


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/healthz":
        await answer_health(send)
    else:
        await ticker(scope, receive, send)  # WebSockets, and the lifespan
