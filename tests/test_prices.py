"""The price ticker: subscriptions on request, the newest price, and a health endpoint."""

import json

import anyio
import pytest

from examples import prices
from wsnursery import testing


async def replies(client, count):
    return [json.loads(await client.receive()) for _ in range(count)]


async def asked(client, message):
    """What the server answers, prices aside."""
    await client.send(message if isinstance(message, str) else json.dumps(message))
    while True:
        [reply] = await replies(client, 1)
        if "price" not in reply:
            return reply


async def test_subscriptions_come_and_go():
    async with prices.changing_prices(), testing.connect(prices.app) as client:
        assert await asked(client, {"subscribe": "ACME"}) == {"subscribed": ["ACME"]}
        [price] = await replies(client, 1)
        assert price["symbol"] == "ACME"
        assert await asked(client, {"subscribe": "HOOLI"}) == {"subscribed": ["ACME", "HOOLI"]}
        assert await asked(client, {"unsubscribe": "ACME"}) == {"subscribed": ["HOOLI"]}
        assert {price["symbol"] for price in await replies(client, 5)} == {"HOOLI"}


@pytest.mark.parametrize("wrong", ["", "[]", "{}", "1", '"subscribe"', '{"subscribe": ["ACME"]}'])
async def test_a_client_may_send_anything(wrong):
    async with testing.connect(prices.app) as client:
        assert "error" in await asked(client, wrong)
        assert await asked(client, {"subscribe": "ACME"}) == {"subscribed": ["ACME"]}


async def test_the_number_of_subscriptions_is_bounded():
    async with testing.connect(prices.app) as client:
        answers = [await asked(client, {"subscribe": symbol}) for symbol in prices.SYMBOLS]
        assert [len(answer.get("subscribed", [])) for answer in answers] == [1, 2, 3, 0, 0]
        assert "3 rooms at a time" in answers[3]["error"]


async def test_health():
    sent = []

    async def send(event):
        await anyio.lowlevel.checkpoint()
        sent.append(event)

    async with testing.connect(prices.app) as client:
        await asked(client, {"subscribe": "ACME"})
        await prices.app({"type": "http"}, None, send)
    health = json.loads(sent[1]["body"])
    assert health["status"] == "ok"
    assert health["rooms"]["ACME"]["members"] == 1
