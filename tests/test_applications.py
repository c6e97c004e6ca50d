"""The applications of `examples/applications`, in memory. `tests/servers` has them on servers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

import examples.applications
from examples.applications import chat, ticker
from wsnursery import testing
from wsnursery.testing import virtual_backend

DIRECTORY = Path(examples.applications.__file__).parent
FILES = [path for path in sorted(DIRECTORY.glob("*.py")) if path.name != "__init__.py"]


@pytest.fixture(params=["trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


on_both = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_application_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 120


# ---------------------------------------------------------------------------------- the chat


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(chat, "sessions", {"a": "Ann", "b": "Bob"})
    chat.rooms.clear()
    yield
    chat.rooms.clear()


def member(session: str, room: str = "lobby", **options: Any) -> Any:
    headers = [(b"cookie", f"session={session}".encode()), (b"origin", chat.ORIGINS[0].encode())]
    return testing.connect(chat.app, path=f"/rooms/{room}", headers=headers, **options)


async def received(client: testing.Client, kind: str) -> dict[str, Any]:
    """The next event of a kind."""
    while True:
        message: dict[str, Any] = json.loads(await client.receive())
        if message.get("event", {}).get("kind") == kind:
            return message


@on_both
async def test_two_members_talk() -> None:
    async with member("a") as ann, member("b") as bob:
        await bob.send('{"kind": "say", "text": "hello"}')
        for client in (ann, bob):
            said = (await received(client, "said"))["event"]
            assert said == {"kind": "said", "who": "Bob", "text": "hello"}
        await bob.send('{"kind": "rename", "name": "Bert"}')
        await bob.send('{"kind": "say", "text": "it is me"}')
        assert (await received(ann, "said"))["event"]["who"] == "Bert"
        bob.vanish()
        assert (await received(ann, "left"))["event"]["who"] == "Bert"


TOO_LONG = json.dumps({"kind": "say", "text": "x" * 2001})


@on_both
async def test_close_codes_and_reasons_that_may_not_be_sent() -> None:
    async with member("a") as ann:
        await received(ann, "came")
        for wrong in ("{", '{"kind": "shout"}', '{"kind": "say", "text": ""}', TOO_LONG):
            await ann.send(wrong)
            assert "is not valid" in json.loads(await ann.receive())["error"]


@on_both
async def test_a_member_that_comes_back_gets_what_it_missed() -> None:
    async with member("a") as ann:
        async with member("b") as bob:
            await bob.send('{"kind": "say", "text": "before"}')
            at = (await received(bob, "said"))["at"]
        for text in ("one", "two"):
            await ann.send(json.dumps({"kind": "say", "text": text}))
            while (await received(ann, "said"))["event"]["text"] != text:
                pass
        async with member("b", query_string=f"after={at}".encode()) as bob:
            events = [json.loads(await bob.receive())["event"] for _ in range(4)]
    assert [(event["kind"], event["text"]) for event in events] == [
        ("left", ""),
        ("said", "one"),
        ("said", "two"),
        ("came", ""),
    ]


@on_both
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([(b"cookie", b"session=stolen")], 401),
        ([(b"cookie", b"session=a"), (b"origin", b"https://evil.example")], 403),
    ],
)
async def test_which_handshakes_are_denied(headers: list[tuple[bytes, bytes]], status: int) -> None:
    with pytest.raises(testing.HandshakeDenied) as denied:
        async with testing.connect(chat.app, path="/rooms/lobby", headers=headers):
            pytest.fail("it was let in")
    assert denied.value.status == status


@on_both
async def test_a_room_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_ROOMS", 1)
    async with member("a"), member("b"):
        with pytest.raises(testing.HandshakeDenied) as denied:
            async with member("b", "another"):
                pytest.fail("it was let in")
    assert denied.value.status == 503


# -------------------------------------------------------------------------------- the ticker


async def test_a_client_gets_the_symbols_that_it_asks_for() -> None:
    async with ticker.producers(), testing.connect(ticker.app) as client:
        await client.send('{"subscribe": "ACME"}')
        assert {json.loads(await client.receive())["symbol"] for _ in range(5)} == {"ACME"}
        await client.send('{"subscribe": "GLOBEX"}')
        seen = {json.loads(await client.receive())["symbol"] for _ in range(10)}
        assert seen == {"ACME", "GLOBEX"}
        await client.send('{"unsubscribe": "ACME"}')
        await anyio.wait_all_tasks_blocked()
        symbols = [json.loads(await client.receive())["symbol"] for _ in range(10)]
        assert symbols[-5:] == ["GLOBEX"] * 5


async def test_a_client_that_does_not_read_gets_the_newest_price() -> None:
    server = testing.Server(send_queue=1)
    async with ticker.producers(), anyio.create_task_group() as group:
        group.start_soon(ticker.app, server.scope, server.receive, server.send)
        await server.peer.send('{"subscribe": "ACME"}')
        await anyio.sleep(20)  # a hundred prices, for which there is no room
        (ws,) = ticker.ticker.connections
        statistics = ws.statistics()
        assert statistics.send_buffer_used <= 2
        server.peer.close()


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ('{"subscribe": "NONE"}', "there is no NONE"),
        ('{"subscribe": 1}', 'send {"subscribe": "ACME"}'),
        ("[]", 'send {"subscribe": "ACME"}'),
        ("{", "Expecting property name"),
    ],
)
async def test_a_wrong_request_is_answered(request_: str, error: str) -> None:
    async with testing.connect(ticker.app) as client:
        await client.send(request_)
        assert json.loads(await client.receive())["error"].startswith(error)


async def health() -> int:
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is to be received")

    await ticker.app({"type": "http", "path": "/healthz"}, receive, send)
    status: int = sent[0]["status"]
    return status


async def test_health_follows_the_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker, "updated", {})
    assert await health() == 503
    async with ticker.producers():
        await trio.testing.wait_all_tasks_blocked()
        assert await health() == 200
        await anyio.sleep(60)
        assert await health() == 200
    await anyio.sleep(ticker.STALE_SECONDS + 1)
    assert await health() == 503
