"""A price ticker on trio: clients choose their symbols, and a slow client gets the newest prices.

``python -m wsnursery serve -k trio --workers 2 examples.applications.ticker:app`` serves it.
SIGTERM drains both workers: clients get close code 1012, and can reconnect to the next server.

A client sends ``{"subscribe": "ACME"}`` and ``{"unsubscribe": "ACME"}``. ``GET /healthz`` answers
200, or 503 if the prices of this worker are old. Each worker has its own producers and rooms.
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
"""Seconds between two prices of a symbol."""

STALE_SECONDS = 5.0
"""Seconds without a new price after which the feed counts as broken."""

updated: dict[str, float] = {}
"""The time of the newest price of each symbol, on trio's clock."""

quotes = Rooms(lambda symbol: Room(symbol, local=True))


async def produce(symbol: str, price: float) -> None:
    """Simulate the feed of an exchange."""
    while True:
        price = round(price * random.uniform(0.99, 1.01), 2)  # noqa: S311 - not for cryptography
        # A newer message replaces a queued older one with the same key.
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
    """Carry out a request. Return what is wrong with it, or an empty text."""
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
