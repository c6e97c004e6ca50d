"""Events as plain data."""

import json
from typing import Any
from uuid import UUID

import pytest

from tests.timeline import _events as ev
from wsnursery import WebSocketDisconnected, hooks
from wsnursery.timeline import Entry
from wsnursery.timeline._entries import MessageEntry, entry_of

NAMES = {0: "body", 1: "ticker"}


def entry(event: hooks.Event, names: dict[int, str] = NAMES) -> Entry:
    made = entry_of(event, 7, names)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("event", "kind", "sentence"),
    [
        (ev.opened(1), "opened", "opened /chat"),
        (ev.accepted(1), "accepted", "accepted"),
        (ev.accepted(1, "v2\x1b"), "accepted", "accepted, subprotocol v2\\x1b"),
        (ev.started(1, 1, "ticker"), "task_started", "ticker started"),
        (ev.full(1), "buffer_full", "send buffer full"),
        (ev.dropped(1, 3), "dropped", "3 messages dropped unsent"),
        (ev.dropped(1, 1, "receive"), "dropped", "1 message dropped unread"),
        (ev.failed(1, OSError("gone")), "send_failed", "send failed: OSError: gone"),
        (ev.broken(1), "disconnected", "broken, no close code"),
        (ev.broken(1, TimeoutError()), "disconnected", "broken, no close code: TimeoutError"),
        (
            ev.disconnected(1, 1001, "bye"),
            "disconnected",
            "disconnected, code 1001, reason 'bye'",
        ),
        (ev.cancelled(1, 0, 1), "cancelled", "cancelled body, ticker: the connection ended"),
        (
            ev.cancelled(1, reason="outside"),
            "cancelled",
            "cancelled the application: from outside",
        ),
        (
            ev.cancelled(1, *range(8), reason="grace_period"),
            "cancelled",
            (
                "cancelled body, ticker, task 2, task 3, task 4, task 5 and 2 more: "
                "the grace period is over"
            ),
        ),
        (ev.ended(1), "task_ended", "body returned"),
        (ev.ended(1, by_cancel=True), "task_ended", "body was cancelled"),
        (
            ev.ended(1, 1, ValueError("no")),
            "task_ended",
            "ticker failed: ValueError: no",
        ),
        (
            ev.ended(1, 1, WebSocketDisconnected()),
            "task_ended",
            (
                "ticker ended by the disconnect: "
                "WebSocketDisconnected: the WebSocket connection has ended without a close code"
            ),
        ),
        (ev.closed(1, code=1000), "closed", "closed, code 1000"),
        (ev.closed(1, ValueError("no"), 1011), "closed", "closed, code 1011: ValueError: no"),
    ],
)
def test_every_event(event: hooks.Event, kind: str, sentence: str) -> None:
    made = entry(event)
    assert (made.kind, str(made)) == (kind, sentence)
    assert (made.number, made.connection, made.time) == (7, ev.ID, 1)


@pytest.mark.parametrize(("kind", "buffer"), [("received", "receive"), ("sent", "send")])
def test_messages(kind: Any, buffer: str) -> None:
    made = MessageEntry(7, 1.5, kind, 5).entry(ev.ID)
    assert (made.number, made.connection, made.time) == (7, ev.ID, 1.5)
    assert (made.kind, made.buffer, made.messages, made.size) == (kind, buffer, 1, 5)
    assert str(made) == f"{kind} 5 bytes"


def test_what_is_not_known_is_left_out() -> None:
    assert entry_of(ev.sent(1), 7, NAMES) is None
    assert entry_of(hooks.Event(ev.ID, 1), 7, NAMES) is None


def test_a_scope_without_a_path() -> None:
    assert str(entry(hooks.Opened(ev.ID, 1, {}))) == "opened "


def test_for_json() -> None:
    data: dict[str, Any] = json.loads(json.dumps(entry(ev.cancelled(1.5, 0, 1)).as_dict()))
    assert data == {
        "number": 7,
        "connection": str(UUID(int=1)),
        "time": 1.5,
        "kind": "cancelled",
        "text": "cancelled body, ticker: the connection ended",
        "label": "body, ticker",
        "detail": ["the connection ended"],
        "task": None,
        "tasks": [0, 1],
        "buffer": None,
        "messages": 0,
        "size": 0,
        "broken": False,
        "ending": None,
    }
