"""The timeline as a trace in Chrome's format."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timeline import _events as ev
from tests.timeline.test_layout import SEND_FAILS
from wsnursery import hooks
from wsnursery.timeline import Recorder, trace

Json = dict[str, Any]


def events_of(*happened: hooks.Event) -> list[Json]:
    read = json.loads(trace(ev.timeline_of(*happened)))
    assert read["displayTimeUnit"] == "ms"
    events: list[Json] = read["traceEvents"]
    return events


def rows(events: list[Json]) -> dict[int, str]:
    """The names of the threads, in their order."""
    order = {
        event["tid"]: event["args"]["sort_index"]
        for event in events
        if event["name"] == "thread_sort_index"
    }
    names = {
        event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"
    }
    assert order.keys() == names.keys()
    return {tid: names[tid] for tid in sorted(names, key=order.__getitem__)}


def slices(events: list[Json]) -> list[tuple[str, str, int, int | None]]:
    """Row, name, begin and duration."""
    names = rows(events)
    return [
        (names[event["tid"]], event["name"], event["ts"], event.get("dur"))
        for event in events
        if event["ph"] in "XB"
    ]


def instants(events: list[Json]) -> list[tuple[str, str, int]]:
    names = rows(events)
    return [
        (names[event["tid"]], event["name"], event["ts"]) for event in events if event["ph"] == "i"
    ]


def test_a_connection_is_a_process_and_its_tasks_are_threads() -> None:
    events = events_of(
        ev.opened(100),
        ev.started(100.5, 1, "tick"),
        ev.ended(101, 1),
        ev.ended(102),
        ev.closed(102, code=1000),
    )
    (process,) = [event for event in events if event["name"] == "process_name"]
    assert process["args"] == {"name": "WebSocket /chat", "connection": str(ev.ID)}
    assert {event["pid"] for event in events} == {process["pid"]}
    assert list(rows(events).values()) == ["WebSocket /chat", "body", "tick"]
    assert slices(events) == [
        ("WebSocket /chat", "WebSocket /chat", 0, 2_000_000),
        ("body", "body", 0, 2_000_000),
        ("tick", "tick", 500_000, 500_000),
    ]
    assert instants(events) == [("WebSocket /chat", "closed, code 1000", 2_000_000)]


def test_winding_down_is_a_slice_inside() -> None:
    events = events_of(
        ev.opened(0),
        ev.started(0, 1, "tick"),
        ev.disconnected(1),
        ev.cancelled(1, 1),
        ev.ended(1.25, 1, by_cancel=True),
        ev.ended(1.5),
        ev.closed(1.5, code=1000),
    )
    assert [found for found in slices(events) if found[1] == "winding down"] == [
        ("WebSocket /chat", "winding down", 1_000_000, 500_000),
        ("body", "winding down", 1_000_000, 500_000),
        ("tick", "winding down", 1_000_000, 250_000),
    ]


def test_what_has_not_ended_has_no_duration() -> None:
    events = events_of(ev.opened(0), ev.started(1, 1, "tick"))
    assert slices(events) == [
        ("WebSocket /chat", "WebSocket /chat", 0, None),
        ("body", "body", 0, None),
        ("tick", "tick", 1_000_000, None),
    ]
    assert {event["ph"] for event in events} == {"M", "B"}


def test_messages_and_moments_are_instants() -> None:
    events = events_of(
        ev.opened(0), ev.received(1, 7), ev.sent(2, 1), ev.failed(3, OSError("gone"))
    )
    assert instants(events) == [
        ("received", "7 bytes", 1_000_000),
        ("sent", "1 byte", 2_000_000),
        ("sent", "send failed", 3_000_000),
    ]
    shown = [event for event in events if event["ph"] == "i"]
    assert [event["args"] for event in shown] == [
        {"size": 7},
        {"size": 1},
        {"details": ["OSError: gone"]},
    ]
    assert {event["s"] for event in shown} == {"t"}


def test_several_connections_share_a_clock_and_no_row() -> None:
    recorder = Recorder()
    recorder(ev.opened(100))
    recorder(ev.opened(103, "/other", ev.OTHER))
    recorder(ev.closed(104, connection=ev.OTHER))
    events = json.loads(trace(*recorder.timelines()))["traceEvents"]
    begun = {event["name"]: event["ts"] for event in events if event["ph"] in "XB"}
    assert begun["WebSocket /chat"] == 0
    assert begun["WebSocket /other"] == 3_000_000
    assert len({event["pid"] for event in events}) == 2
    threads = {(event["pid"], event["tid"]) for event in events if "tid" in event}
    assert len({tid for _, tid in threads}) == len(threads) == 4


def test_no_timeline_is_an_empty_trace() -> None:
    assert json.loads(trace()) == {"displayTimeUnit": "ms", "traceEvents": []}


def test_every_event_has_what_the_format_requires() -> None:
    """See "Trace Event Format": the fields of a complete event, an instant and metadata."""
    required = {
        "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid"},
        "i": {"name", "cat", "ph", "ts", "s", "pid", "tid", "args"},
        "M": {"name", "ph", "pid", "args"},
    }
    events = events_of(*SEND_FAILS)
    assert {event["ph"] for event in events} == {*required}
    for event in events:
        assert required[event["ph"]] <= {*event}
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0


@given(path=st.text(), reason=st.text())
@settings(max_examples=50)
def test_it_is_json_whatever_the_peer_sent(path: str, reason: str) -> None:
    drawn = trace(ev.timeline_of(ev.opened(0, path), ev.closed(1, code=4000, reason=reason)))
    assert json.loads(drawn)["traceEvents"]
    assert drawn.isascii()
    assert drawn == trace(
        ev.timeline_of(ev.opened(0, path), ev.closed(1, code=4000, reason=reason))
    )
