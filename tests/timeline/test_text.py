"""Timelines as lines of text."""

from tests.timeline import _events as ev
from wsnursery.timeline import Recorder, text


def test_nothing() -> None:
    assert text() == ""


def test_messages_that_follow_each_other_are_one_line() -> None:
    timeline = ev.timeline_of(
        ev.opened(10),
        ev.sent(10.5, 2),
        ev.sent(11, 3),
        ev.sent(11.5, 4),
        ev.received(12, 1),
        ev.sent(12.25, 1),
        ev.dropped(13, 2),
        ev.dropped(13, 2),
    )
    assert text(timeline).splitlines() == [
        "WebSocket /chat (00000000-0000-0000-0000-000000000001)",
        "    0.000  opened /chat",
        "    0.500  sent 3 messages, 9 bytes",
        "    2.000  received 1 byte",
        "    2.250  sent 1 byte",
        "    3.000  2 messages dropped unsent",
        "    3.000  2 messages dropped unsent",
    ]


def test_two_connections_of_which_one_is_not_complete() -> None:
    recorder = Recorder(max_entries=2)
    recorder(ev.opened(0, "/1"))
    recorder(ev.opened(1, "/2", ev.OTHER))
    recorder(ev.accepted(1))
    recorder(ev.broken(2, OSError("gone")))
    assert text(*recorder.timelines()).splitlines() == [
        "WebSocket /1 (00000000-0000-0000-0000-000000000001)",
        "           1 older entry not kept",
        "    0.000  opened /1",
        "    2.000  broken, no close code: OSError: gone",
        "",
        "WebSocket /2 (00000000-0000-0000-0000-000000000002)",
        "    0.000  opened /2",
    ]
