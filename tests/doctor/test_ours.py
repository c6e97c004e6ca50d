"""The scripts on wsnursery, on servers whose behaviour is known: the contract holds there."""

from dataclasses import replace
from typing import Any

import anyio
import pytest

from tests.doctor._director import Director
from wsnursery._doctor._ours import CHILDREN, OUR_SCRIPTS
from wsnursery.testing import GRANIAN, HYPERCORN_TRIO, SILENT, UVICORN, Personality

PERSONALITIES = [HYPERCORN_TRIO, UVICORN, GRANIAN]


async def run(script: str, personality: Personality, variant: str = "") -> dict[str, Any]:
    return await Director(personality, variant).run(OUR_SCRIPTS[script])


def assert_ended(facts: dict[str, Any], outcome: str | None) -> None:
    assert (facts["outcome"], facts["group"], facts["cleaned"]) == (outcome, False, CHILDREN)


@pytest.mark.parametrize("personality", PERSONALITIES, ids=lambda personality: personality.name)
@pytest.mark.parametrize("way", ["close_frame", "reset"])
async def test_leave(way: str, personality: Personality) -> None:
    facts = await run("leave", personality, f"{way}-read")
    assert_ended(facts, None)
    assert facts["read_code"] is not None
    facts = await run("leave", personality, f"{way}-busy")
    assert_ended(facts, "WebSocketDisconnected")
    assert facts["is_os_error"]


async def test_send_loop() -> None:
    facts = await run("send_loop", replace(SILENT, send_queue=None))
    assert_ended(facts, "WebSocketDisconnected")
    assert facts["sent"] < 100


async def test_blocked_send() -> None:
    facts = await run("blocked_send", SILENT)
    assert_ended(facts, "WebSocketDisconnected")
    assert (facts["blocks"], facts["needs_reset"]) == (True, False)


async def test_blocked_send_that_cannot_be_cancelled() -> None:
    facts = await run("blocked_send", HYPERCORN_TRIO)
    assert_ended(facts, "WebSocketDisconnected")
    assert facts["needs_reset"]


async def test_send_that_never_blocks() -> None:
    facts = await run("blocked_send", replace(SILENT, send_queue=None))
    assert_ended(facts, "WebSocketDisconnected")
    assert not facts["blocks"]


async def test_full_queue() -> None:
    assert_ended(await run("full_queue", HYPERCORN_TRIO), "WebSocketDisconnected")


async def test_unread() -> None:
    director = Director(SILENT)
    ask = director.ask

    async def ask_with_flood(action: str, **arguments: Any) -> Any:
        await ask("send", count=100)
        return await ask(action, **arguments)

    director.bench.ask = ask_with_flood
    await director.run(OUR_SCRIPTS["unread"])
    assert_ended(director.facts, None)
    assert 0 < director.facts["kept"] <= 64


async def test_cancelled_receive() -> None:
    facts = await run("cancelled_receive", GRANIAN)
    assert_ended(facts, None)
    assert facts["lost"] == 0


async def test_cancelled_receive_ends_if_messages_are_lost() -> None:
    director = Director(SILENT)
    order = director.order
    director.bench.order = lambda action, **_: order(action, count=399)
    await director.run(OUR_SCRIPTS["cancelled_receive"])
    assert director.facts["lost"] == 1


async def test_concurrent_sends() -> None:
    facts = await run("concurrent_send", SILENT)
    assert_ended(facts, None)
    assert facts["whole"] == 80


async def test_end_by_returning() -> None:
    director = Director(SILENT, "return")
    await director.run(OUR_SCRIPTS["end"])
    assert_ended(director.facts, None)


async def test_end_by_closing() -> None:
    director = Director(SILENT, "close")
    await director.run(OUR_SCRIPTS["end"])
    assert_ended(director.facts, None)
    assert await director.seen_code() == 1001


async def test_end_by_raising() -> None:
    director = Director(SILENT, "raise")
    with pytest.raises(LookupError, match="on purpose"):
        await director.run(OUR_SCRIPTS["end"])
    assert_ended(director.facts, "LookupError")


async def test_early_frame() -> None:
    director = Director(SILENT)
    director.server.peer.send_nowait("early")
    await director.run(OUR_SCRIPTS["early_frame"])
    assert director.facts["received"] == "early"


async def test_shutdown_with_an_event() -> None:
    facts = await run("shutdown", UVICORN)
    assert_ended(facts, None)


async def test_shutdown_by_cancellation() -> None:
    director = Director(SILENT)
    with anyio.CancelScope() as scope:
        director.on_terminate = scope.cancel
        await director.run(OUR_SCRIPTS["shutdown"])
    assert scope.cancelled_caught
    assert director.facts["cleaned"] == CHILDREN
