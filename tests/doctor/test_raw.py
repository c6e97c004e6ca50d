"""The scripts against bare receive and send, on servers whose behaviour is known."""

import sys
from dataclasses import replace
from typing import Any

import anyio
import pytest

from tests.doctor._director import Director
from wsnursery._doctor._raw import MOST_BYTES, RAW_SCRIPTS, SIZE, versions
from wsnursery.testing import (
    GRANIAN,
    HYPERCORN_TRIO,
    RAISES_OSERROR,
    SILENT,
    UVICORN_LEGACY,
    Personality,
)


async def run(script: str, personality: Personality, variant: str = "") -> dict[str, Any]:
    return await Director(personality, variant).run(RAW_SCRIPTS[script])


async def test_hello(anyio_backend_name: str) -> None:
    facts = await run("hello", SILENT)
    assert facts["spec_version"] == "2.3"
    assert facts["extensions"] == ["websocket.http.response"]
    assert facts["backend"] in ("trio", "wsnursery", "tests", "asyncio")
    assert facts["libraries"]["anyio"] == versions(("anyio",))["anyio"]


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "a_checkout", sys)
    assert versions(("a_checkout", "never_imported")) == {"a_checkout": "unknown"}


@pytest.mark.parametrize("way", ["close_frame", "reset"])
async def test_leave(way: str) -> None:
    facts = await run("leave", RAISES_OSERROR, way)
    assert (facts["outcome"], facts["code"]) == (
        ("returned", 4001) if way == "close_frame" else ("returned", 1006)
    )


async def test_late_send_after_the_disconnect_event() -> None:
    facts = await run("late_send", UVICORN_LEGACY, "reset-received")
    assert [send["error"] for send in facts["sends"]] == ["RuntimeError"] * 5
    assert facts["receive"]["outcome"] == "returned"


async def test_late_send_before_the_disconnect_event() -> None:
    facts = await run("late_send", RAISES_OSERROR, "close_frame-pending")
    assert all(send["is_os_error"] for send in facts["sends"])
    assert "receive" not in facts


async def test_send_loop_on_a_silent_server() -> None:
    facts = await run("send_loop", SILENT)
    assert (facts["outcome"], facts["sent"], facts["ticks"]) == ("returned", 2000, 0)


async def test_send_loop_on_a_server_with_checkpoints() -> None:
    director = Director(SILENT)

    async def send(event: Any) -> None:
        await anyio.lowlevel.checkpoint()
        await director.server.send(event)

    director.bench.send = send
    facts = await director.run(RAW_SCRIPTS["send_loop"])
    assert (facts["outcome"], facts["sent"]) == ("returned", 2000)
    assert facts["ticks"] > 100


async def test_send_loop_on_one_that_raises() -> None:
    facts = await run("send_loop", RAISES_OSERROR)
    assert (facts["outcome"], facts["sent"]) == ("raised", 0)


@pytest.mark.parametrize(("personality", "cancellable"), [(SILENT, True), (HYPERCORN_TRIO, False)])
async def test_blocked_send_cancelled(personality: Personality, cancellable: bool) -> None:
    facts = await run("blocked_send", personality, "cancel")
    assert facts["blocks"]
    assert facts["sent"] == SIZE * (personality.send_queue or 0)
    assert facts["cancellable"] is cancellable


async def test_blocked_send_reset() -> None:
    facts = await run("blocked_send", RAISES_OSERROR, "reset")
    assert facts["freed"]
    assert facts["send"]["is_os_error"]
    assert facts["receive"]["code"] == 1006


async def test_send_that_never_blocks() -> None:
    facts = await run("blocked_send", replace(SILENT, send_queue=None), "cancel")
    assert facts == {"sent": MOST_BYTES, "blocks": False}


async def test_full_queue() -> None:
    director = Director(replace(HYPERCORN_TRIO, send_waits_for_queue=False))
    await director.run(RAW_SCRIPTS["full_queue"])
    assert [send["outcome"] for send in director.facts["sends"]] == ["returned"] * 3
    assert director.facts["receive"]["messages"] == 300


async def test_unread() -> None:
    assert await run("unread", SILENT) == {"taken": MOST_BYTES}


async def test_cancelled_receive_loses_nothing() -> None:
    assert await run("cancelled_receive", SILENT) == {"sent": 400, "lost": 0}


async def test_cancelled_receive_that_loses() -> None:
    director = Director(SILENT)
    receive, calls = director.server.receive, 0

    async def forgetful() -> Any:
        nonlocal calls
        calls += 1
        event = await receive()
        if calls == 2:  # the first message; the first call was for the connect
            await anyio.sleep_forever()  # it is cancelled with the event in its hands
        return event

    director.bench.receive = forgetful
    await director.run(RAW_SCRIPTS["cancelled_receive"])
    assert director.facts["lost"] == 1


async def test_concurrent_sends() -> None:
    facts = await run("concurrent_send", SILENT)
    assert facts == {"sent": 80, "whole": 80, "failed": None}


async def test_concurrent_sends_that_fail() -> None:
    director = Director(replace(SILENT, send_queue=None))
    send, calls = director.server.send, 0

    async def assertive(event: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise AssertionError
        await send(event)

    director.bench.send = assertive
    director.bench.ask = _reads_nothing
    await director.run(RAW_SCRIPTS["concurrent_send"])
    assert director.facts["failed"]["error"] == "AssertionError"


async def _reads_nothing(action: str, **arguments: Any) -> int:
    await anyio.sleep(1)
    return 0


@pytest.mark.parametrize("variant", ["return", "early-return"])
async def test_end_by_returning(variant: str) -> None:
    director = Director(SILENT, variant)
    await director.run(RAW_SCRIPTS["end"])
    assert director.server.peer.accepted is (variant == "return")
    assert director.facts == {}


@pytest.mark.parametrize("personality", [SILENT, RAISES_OSERROR])
async def test_end_with_a_code(personality: Personality) -> None:
    director = Director(personality, "close-1011")
    await director.run(RAW_SCRIPTS["end"])
    assert director.facts["outcome"] == "returned"
    assert await director.seen_code() == 1011


@pytest.mark.parametrize("variant", ["raise", "early-raise"])
async def test_end_by_raising(variant: str) -> None:
    director = Director(SILENT, variant)
    with pytest.raises(LookupError, match="on purpose"):
        await director.run(RAW_SCRIPTS["end"])
    assert director.server.peer.accepted is (variant == "raise")


async def test_early_frame() -> None:
    director = Director(SILENT)
    director.server.peer.send_nowait("early")
    await director.run(RAW_SCRIPTS["early_frame"])
    assert director.facts["accept"]["outcome"] == "returned"
    assert director.facts["receive"]["event"] == "websocket.receive"


async def test_shutdown_with_an_event() -> None:
    facts = await run("shutdown", GRANIAN, "receive")
    assert facts["notified"]["outcome"] == "returned"


async def test_shutdown_without_a_notification() -> None:
    assert await run("shutdown", SILENT, "sleep") == {"notified": None}


@pytest.mark.parametrize("variant", ["receive", "sleep"])
async def test_shutdown_by_cancellation(variant: str) -> None:
    director = Director(SILENT, variant)
    with anyio.CancelScope() as scope:
        director.on_terminate = scope.cancel
        await director.run(RAW_SCRIPTS["shutdown"])
    assert scope.cancelled_caught
    assert director.facts["notified"]["outcome"] == "cancelled"
