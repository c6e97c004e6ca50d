"""The events that hooks are given."""

import asyncio
import dataclasses
import inspect
import logging
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest

from tests.timeline import _events as ev
from wsnursery import Options, WebSocket, WebSocketDisconnected, hooks, testing, websocket_app

EVENTS = [
    kind
    for _, kind in inspect.getmembers(hooks, inspect.isclass)
    if issubclass(kind, hooks.Event) and kind is not hooks.Event
]


@pytest.mark.parametrize("kind", EVENTS)
def test_events_are_frozen_and_say_of_which_connection_and_when(kind: Any) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    assert names == ["connection", "time", *kind.__annotations__]
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind(uuid4(), *(0.0 for _ in names[1:])).time = 1.0


def test_the_docstring_lists_every_event() -> None:
    assert hooks.__doc__ is not None
    for kind in EVENTS:
        assert f"`{kind.__name__}`" in hooks.__doc__


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (None, "returned"),
        (WebSocketDisconnected(), "disconnected"),
        (asyncio.CancelledError(), "cancelled"),
        (ValueError(), "failed"),
        (BaseExceptionGroup("several", [asyncio.CancelledError()]), "failed"),
        (KeyboardInterrupt(), "failed"),
    ],
)
def test_endings(error: BaseException | None, ending: str) -> None:
    assert ev.closed(1, error).ending == ending
    assert ev.ended(1, 0, error).ending == ending
    assert ev.ended(1, 0, None, by_cancel=True).ending == "cancelled"


def test_a_task_that_fails_while_it_is_cancelled_has_failed() -> None:
    """In trio a group loses its cancellations on the way, and the error goes on."""
    error = BaseExceptionGroup("several", [ValueError()])
    assert ev.ended(1, 0, error, by_cancel=True).ending == "failed"


KEYS = {
    "ws_id",
    "ws_path",
    "ws_client",
    "ws_accepted",
    "ws_subprotocol",
    "ws_duration",
    "ws_code",
    "ws_reason",
    "ws_ending",
    "ws_error",
    "ws_cause",
    "ws_messages_received",
    "ws_messages_sent",
    "ws_bytes_received",
    "ws_bytes_sent",
}


def extra(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record in addition to those of every record."""
    plain = {*logging.makeLogRecord({}).__dict__, "message"}  # the last one a handler has set
    return {key: value for key, value in record.__dict__.items() if key not in plain}


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, dict[str, Any]]]:
    """The level, the message and what differs from nothing."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for record in caplog.records:
        assert set(extra(record)) == KEYS
        said = {key: value for key, value in extra(record).items() if value is not None}
        found.append((record.levelname, record.getMessage(), said))
    return found


async def test_a_connection_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsnursery.connections")

    @websocket_app(options=Options(hooks=[hooks.LoggingHook()]))
    async def echo(ws: WebSocket) -> None:
        await ws.accept("chat")
        async for message in ws:
            await ws.send(message)

    await anyio.sleep(5)  # the clock does not begin with the connection
    async with testing.connect(echo, path="/a", subprotocols=["chat"]) as client:
        for _ in range(3):
            await client.send("hello")
            await client.receive()
        client.close(4000, "bye")
    (level, message, opened), (_, _, closed) = logged(caplog)
    assert (level, message) == ("INFO", "websocket opened: /a from 192.0.2.1")
    ws_id = opened.pop("ws_id")
    assert str(UUID(ws_id)) == ws_id
    assert opened == {"ws_path": "/a", "ws_client": "192.0.2.1", "ws_accepted": False}
    duration = closed.pop("ws_duration")
    assert 0 <= duration < 1
    assert closed == {
        "ws_id": ws_id,
        "ws_path": "/a",
        "ws_client": "192.0.2.1",
        "ws_accepted": True,
        "ws_subprotocol": "chat",
        "ws_code": 4000,
        "ws_reason": "bye",
        "ws_ending": "returned",
        "ws_messages_received": 3,
        "ws_messages_sent": 3,
        "ws_bytes_received": 15,
        "ws_bytes_sent": 15,
    }


def test_the_docstring_lists_every_key() -> None:
    assert hooks.LoggingHook.__doc__ is not None
    for key in KEYS:
        assert f"``{key}``" in hooks.LoggingHook.__doc__


async def test_a_connection_that_breaks_is_nothing_to_worry_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "wsnursery.connections")

    @websocket_app(options=Options(hooks=[hooks.LoggingHook()]))
    async def push(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("hello")

    fault = testing.FailSend(2, BrokenPipeError("gone"))
    async with testing.connect(push, faults=[fault]) as client:
        await client.app_finished()
    (_, _, opened), (level, message, closed) = logged(caplog)
    assert (level, message) == (
        "INFO",
        "websocket closed: / with no code after 0.0 s, disconnected",
    )
    assert opened["ws_id"] == closed["ws_id"]
    assert closed["ws_ending"] == "disconnected"
    assert (closed["ws_error"], closed["ws_cause"]) == ("WebSocketDisconnected", "BrokenPipeError")
    assert "ws_code" not in closed


async def test_an_application_that_fails_is_a_warning_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("tests.hooks")
    caplog.set_level(logging.INFO, logger.name)

    @websocket_app(options=Options(hooks=[hooks.LoggingHook(logger)]))
    async def fail(ws: WebSocket) -> None:
        raise ValueError("a secret")

    with pytest.raises(ValueError, match="a secret"):
        async with testing.connect(fail):
            pass
    _, (level, _, closed) = logged(caplog)
    assert {record.name for record in caplog.records} == {logger.name}
    assert (level, closed["ws_ending"], closed["ws_error"]) == ("WARNING", "failed", "ValueError")
    assert closed["ws_accepted"] is False
    assert not any(record.exc_info for record in caplog.records)


EVIL = "a\r\nWARNING forged\x1b[2J\ud800" + "x" * 300


def test_what_a_peer_sends_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsnursery.connections")
    hook = hooks.LoggingHook()
    scope = {"path": EVIL, "client": (EVIL, 1)}
    hook(hooks.Opened(ev.ID, 0, scope))
    hook(ev.accepted(0, EVIL))
    hook(ev.received(1))
    hook(ev.closed(2, code=1000, reason=EVIL))
    _, (_, _, closed) = logged(caplog)
    for key in ("ws_path", "ws_client", "ws_subprotocol", "ws_reason"):
        assert closed[key].startswith(r"a\r\nWARNING forged\x1b[2J\ud800xxx")
        assert len(closed[key]) < 250


def test_nothing_is_kept_of_a_connection_that_is_closed() -> None:
    hook = hooks.LoggingHook()
    hook(ev.opened())
    hook(ev.closed(1))
    assert hook._open == {}
    assert not hook.messages
