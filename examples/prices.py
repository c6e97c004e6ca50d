"""A price ticker: clients choose their symbols, and a slow client gets the newest prices.

A client sends ``{"subscribe": "ACME"}`` or ``{"unsubscribe": "ACME"}`` and gets
``{"symbol": "ACME", "price": 100.3}``. Only the newest price matters, so a client that does not
keep up gets the newest price of each symbol and none in between (``overflow="latest"``).
``GET /health`` reports the state of the rooms.

Run it with ``python -m examples.prices`` or with ``hypercorn -k trio examples.prices:app``.
"""

import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import anyio

from wsnursery import WebSocket, websocket_app
from wsnursery.rooms import Memberships, Rooms, RoomStatistics, TooManyRooms

SYMBOLS = ("ACME", "GLOBEX", "HOOLI", "INITECH", "UMBRELLA")

MOST_SUBSCRIPTIONS = 3  # per client

rooms = Rooms()


async def change_prices() -> None:
    """Produce prices until the application ends."""
    prices = dict.fromkeys(SYMBOLS, 100.0)
    while True:
        for symbol in SYMBOLS:
            prices[symbol] = round(prices[symbol] * random.uniform(0.99, 1.01), 2)  # noqa: S311
            rooms.publish_json(symbol, {"symbol": symbol, "price": prices[symbol]}, key=symbol)
        await anyio.sleep(0.1)


def answer(message: str | bytes, subscribed: Memberships) -> dict[str, Any]:
    """Carry out a request, and return the answer. The client may send anything."""
    try:
        request = json.loads(message)
        if "subscribe" in request:
            if request["subscribe"] not in SYMBOLS:
                return {"error": f"the symbols are {', '.join(SYMBOLS)}"}
            subscribed.join(request["subscribe"])
        else:
            subscribed.leave(request["unsubscribe"])
    except TooManyRooms as exc:
        return {"error": str(exc)}
    except (ValueError, TypeError, KeyError):
        return {"error": 'send {"subscribe": SYMBOL} or {"unsubscribe": SYMBOL}'}
    return {"subscribed": [member.room for member in subscribed]}


@asynccontextmanager
async def changing_prices() -> AsyncGenerator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(change_prices)
        yield
        group.cancel_scope.cancel()


@websocket_app(lifespan=changing_prices)
async def prices(ws: WebSocket) -> None:
    await ws.accept()
    with rooms.memberships(ws, overflow="latest", limit=MOST_SUBSCRIPTIONS) as subscribed:
        async for message in ws:
            await ws.send_json(answer(message, subscribed))


def health() -> dict[str, Any]:
    """For a monitor: which rooms have members, and whether the members keep up."""
    counts: dict[str, RoomStatistics] = {name: rooms[name].statistics() for name in rooms}
    lagging = sum(one.lagging for one in counts.values())
    return {"status": "slow clients" if lagging else "ok", "rooms": counts}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Dispatch by scope type, as any ASGI application may."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"application/json")]
        body = json.dumps(health(), default=asdict).encode()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:
        await prices(scope, receive, send)


if __name__ == "__main__":
    from examples import _serve

    _serve.main(app)
