"""The lanes and the moments of a timeline."""

from tests.timeline import _events as ev
from wsnursery import WebSocketDisconnected, hooks
from wsnursery.timeline import Recorder
from wsnursery.timeline._story import At, Story, story_of


def story_with(*events: hooks.Event) -> Story:
    return story_of(ev.timeline_of(*events))


def lanes(found: Story) -> dict[str, str]:
    return {lane.title: lane.note for lane in found.lanes}


def moments(found: Story) -> list[tuple[str, str, str]]:
    return [(moment.lane.title, moment.tone, moment.text) for moment in found.moments]


def test_a_send_that_fails() -> None:
    cause = OSError("gone")
    outcome = WebSocketDisconnected()
    outcome.__cause__ = cause
    found = story_with(
        ev.opened(0),
        ev.accepted(0),
        ev.started(0, 1, "ticker"),
        ev.sent(1),
        ev.received(1),
        ev.failed(2, cause),
        ev.broken(2, cause),
        ev.cancelled(2, 1),
        ev.ended(2, 0, outcome),
        ev.ended(2.5, 1, by_cancel=True),
        ev.closed(2.5, outcome),
    )
    assert lanes(found) == {
        "WebSocket /chat": "no close code",
        "received": "5 bytes",
        "body": "ended by the disconnect",
        "ticker": "was cancelled",
        "sent": "5 bytes",
    }
    assert moments(found) == [
        ("WebSocket /chat", "good", "accepted"),
        ("sent", "bad", "send failed"),
        ("WebSocket /chat", "bad", "broken, no close code"),
        ("WebSocket /chat", "warn", "cancelled ticker: the connection ended"),
        ("body", "warn", "body ended by the disconnect"),
        ("ticker", "warn", "ticker was cancelled, its clean-up took 500 ms"),
        ("WebSocket /chat", "warn", "closed, no close code"),
    ]
    # Every chain is written out once, and the last word has all of it.
    assert [moment.details for moment in found.moments] == [
        (),
        ("OSError: gone",),
        (),
        (),
        (),
        (),
        (
            "WebSocketDisconnected: the WebSocket connection has ended without a close code",
            "OSError: gone",
        ),
    ]
    assert [moment.cuts for moment in found.moments] == [False, True, True, True, *[False] * 3]
    link, _, body, ticker, _ = found.lanes
    assert link.spans[0].notified == body.spans[0].notified == ticker.spans[0].notified == At(6, 2)
    assert link.spans[0].end == At(10, 2.5)
    assert ticker.spans[0].begin == At(2, 0)
    assert ticker.spans[0].end == At(9, 2.5)
    assert (found.begin, found.end) == (At(0, 0), At(10, 2.5))


def test_a_reader_finishes_after_the_end() -> None:
    found = story_with(ev.opened(0), ev.disconnected(1), ev.ended(3), ev.closed(3))
    assert [moment.text for moment in found.moments] == [
        "disconnected, code 1000",
        "body returned, 2 s after the end",
        "closed, no close code",
    ]
    assert [moment.tone for moment in found.moments] == ["plain", "plain", "good"]


def test_a_child_fails_and_another_one_takes_its_time() -> None:
    found = story_with(
        ev.opened(0),
        ev.started(0, 1, "child"),
        ev.started(0, 2, "stubborn"),
        ev.ended(1, 1, ValueError("no")),
        ev.cancelled(1, 0, 2, reason="failed"),
        ev.ended(1, 0, by_cancel=True),
        ev.ended(3, 2),
        ev.closed(3, ValueError("no"), 1011),
    )
    assert [(moment.tone, moment.text, moment.details) for moment in found.moments] == [
        ("bad", "child failed", ("ValueError: no",)),
        ("warn", "cancelled body, stubborn: something failed", ()),
        ("warn", "body was cancelled", ()),
        ("plain", "stubborn returned, 2 s after its cancellation", ()),
        ("bad", "closed, code 1011", ("ValueError: no",)),
    ]


def test_the_grace_period_counts_from_the_cancellation() -> None:
    found = story_with(
        ev.opened(0),
        ev.disconnected(1),
        ev.cancelled(6, 0, reason="grace_period"),
        ev.ended(6.5, by_cancel=True),
        ev.closed(6.5),
    )
    assert found.moments[-2].text == "body was cancelled, its clean-up took 500 ms"
    assert found.lanes[1].spans[0].notified == At(1, 1)


def test_a_cancellation_from_an_unknown_source() -> None:
    found = story_with(ev.opened(0), ev.cancelled(1, reason="outside"), ev.cancelled(1, 5))
    assert [moment.text for moment in found.moments] == [
        "cancelled the application: from outside",
        "cancelled task 5: the connection ended",
    ]


def test_frequent_events_are_shown_once() -> None:
    found = story_with(
        ev.opened(0),
        ev.full(1),
        ev.dropped(1, 1),
        ev.sent(1),
        ev.full(2),
        ev.dropped(2, 2),
        ev.full(2, "receive"),
        ev.accepted(3),
        ev.full(4),
        ev.ended(5, 0, ValueError()),
        ev.full(6),
        ev.full(6),
    )
    assert moments(found) == [
        ("sent", "warn", "send buffer full, 2 times"),
        ("sent", "warn", "3 messages dropped unsent"),
        ("received", "warn", "receive buffer full"),
        ("WebSocket /chat", "good", "accepted"),
        ("sent", "warn", "send buffer full"),
        ("body", "bad", "body failed"),
        ("sent", "warn", "send buffer full, 2 times"),
    ]
    assert [lane.title for lane in found.lanes] == ["WebSocket /chat", "received", "body", "sent"]


def test_tasks_of_one_name_share_a_lane_one_after_the_other() -> None:
    found = story_with(
        ev.opened(0),
        ev.started(1, 1, "handle"),
        ev.started(1, 2, "handle"),
        ev.ended(2, 1),
        ev.started(3, 3, "handle"),
        ev.ended(4, 2),
        ev.started(5, 4, "other"),
    )
    assert [(lane.title, lane.note) for lane in found.lanes] == [
        ("WebSocket /chat", "open"),
        ("body", "running"),
        ("handle", "2 tasks"),
        ("handle", "returned"),
        ("other", "running"),
    ]
    assert [span.end for span in found.lanes[2].spans] == [At(3, 2), None]
    assert found.moments == []


def test_a_task_that_starts_after_the_end() -> None:
    found = story_with(ev.opened(0), ev.disconnected(1), ev.started(2, 1, "late"), ev.ended(2, 1))
    assert found.lanes[2].spans[0].notified == At(1, 1)
    assert found.moments[-1].text == "late returned"


def test_a_task_whose_start_was_not_kept() -> None:
    recorder = Recorder(max_entries=2)
    for event in [ev.opened(0), ev.started(1, 1, "ticker"), ev.ended(2, 1)]:
        recorder(event)
    found = story_of(recorder.timeline(ev.ID))
    assert [lane.title for lane in found.lanes] == ["WebSocket /chat", "body", "ticker"]
    assert found.lanes[2].spans[0].begin == At(0, 0)
    assert found.forgotten == 1
