"""What a page receives about the connections, and what it may do to them."""

import json
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from examples.demonstration._watch import INTERVAL, SEND_BUFFER
from tests.demonstration._peers import Json, staged, until, until_true
from wsnursery import testing


async def wish(page: testing.Client, action: str, to: str) -> None:
    await page.send(f'{{"do":"{action}","to":"{to}"}}')


async def received(page: testing.Client) -> Json:
    """The next message, whole."""
    found: Json = json.loads(await page.receive())
    return found


async def test_it_begins_with_all_there_is() -> None:
    async with staged() as stage, stage.connect("/test", b"name=Pip") as tested:
        await until(tested, "tick")
        async with stage.connect("/watch") as page:
            first = await received(page)
            assert first["server"] == {"backend": "any"}
            (shown,) = first["connections"]
            assert (shown["name"], shown["state"]) == ("Pip", "open")
            assert "story" not in first


async def test_changes_come_at_most_so_often() -> None:
    async with staged() as stage, stage.connect("/watch") as page:
        assert await until(page, "connections") == []
        async with stage.connect("/test", b"name=Pip") as tested:
            shown = await until(page, "connection")
            assert shown["name"] == "Pip"
            began = anyio.current_time()
            for _ in range(5):
                await until(page, "connection")
            assert anyio.current_time() - began >= 5 * INTERVAL - 0.01
            tested.close(4001)
            ended = await until_true(page, "connection", lambda shown: shown["state"] == "ended")
            assert (ended["id"], ended["code"]) == (shown["id"], 4001)


async def test_those_that_are_forgotten_go() -> None:
    async with staged() as stage, stage.connect("/watch") as page:
        ids = []
        for _ in range(3):
            async with stage.connect("/test"):
                ids.append((await until(page, "connection"))["id"])
                await anyio.sleep(1)
        assert await until(page, "gone") == ids[0]


async def test_a_press_and_its_story() -> None:
    async with (
        staged() as stage,
        stage.connect("/test", b"name=Pip"),
        stage.connect("/watch") as page,
        stage.connect("/watch") as other,
    ):
        shown = await until(page, "connection")
        await wish(page, "cancel", shown["id"])
        story = await until_true(page, "story", lambda story: story["over"])
        assert (story["action"], story["name"]) == ("cancel", "Pip")
        assert story["entries"][-1]["kind"] == "closed"
        assert await until_true(other, "story", lambda story: story["over"]) == story
        async with stage.connect("/watch") as late:
            assert (await received(late))["story"] == story


async def test_the_end_of_the_server() -> None:
    async with staged() as stage, stage.connect("/watch") as page:
        await page.send('{"do":"stop"}')
        await stage.stopped.wait()


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "[]",
        "7",
        "{}",
        '{"do":"dance","to":"x"}',
        '{"do":"cancel"}',
        '{"do":"cancel","to":7}',
        '{"do":["cancel"],"to":"x"}',
        b"\xff",
    ],
)
async def test_nonsense_is_refused_and_the_page_goes_on(nonsense: Any) -> None:
    async with staged() as stage, stage.connect("/watch") as page:
        for _ in range(2):
            await page.send(nonsense)
            assert "does not know" in await until(page, "refused")


async def test_a_connection_that_is_gone() -> None:
    async with staged() as stage, stage.connect("/watch") as page:
        await wish(page, "cancel", "00000000-0000-0000-0000-000000000000")
        assert "has ended" in await until(page, "refused")


async def test_an_action_that_cannot_be_done() -> None:
    async with (
        staged() as stage,
        stage.connect("/test") as tested,
        stage.connect("/watch") as page,
    ):
        await until(tested, "tick")
        shown = await until(page, "connection")
        await wish(page, "stall", shown["id"])
        await anyio.sleep(5)
        await wish(page, "flood", shown["id"])
        assert "is full" in await until(page, "refused")
        story = await until(page, "story")
        assert story["action"] == "stall"
        tested.vanish()


async def test_a_page_that_fell_behind_gets_the_whole_state() -> None:
    go_on = anyio.Event()
    stall = testing.StallSend(3, until=go_on)
    async with staged() as stage, AsyncExitStack() as stack:
        page = await stack.enter_async_context(stage.connect("/watch", faults=[stall]))
        await received(page)
        for _ in range(SEND_BUFFER + 10):
            await stack.enter_async_context(stage.connect("/test"))
        await anyio.sleep(1)
        go_on.set()
        await until(page, "connection")
        assert len(await until(page, "connections")) == SEND_BUFFER + 10
