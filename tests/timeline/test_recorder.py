"""What a recorder keeps, and what it does not."""

import gc
import json
import weakref
from uuid import UUID

import pytest

from tests.timeline import _events as ev
from wsnursery import hooks
from wsnursery.timeline import Recorder


def texts(recorder: Recorder, connection: UUID = ev.ID) -> list[str]:
    return [str(entry) for entry in recorder.timeline(connection).entries]


def test_a_life() -> None:
    timeline = ev.timeline_of(
        ev.opened(1, "/a?\n"),
        ev.accepted(1),
        ev.started(2, 1, "app.<locals>.ticker"),
        ev.sent(3),
        ev.ended(4, 1),
        ev.ended(5),
        ev.closed(6),
    )
    assert (timeline.connection, timeline.path, timeline.opened) == (ev.ID, "/a?\\n", 1)
    assert (timeline.closed, timeline.dropped) == (True, 0)
    assert [str(entry) for entry in timeline.entries] == [
        "opened /a?\\n",
        "accepted",
        "ticker started",
        "sent 5 bytes",
        "ticker returned",
        "body returned",
        "closed, no close code",
    ]
    assert [entry.number for entry in timeline.entries] == list(range(7))


def test_for_json() -> None:
    timeline = ev.timeline_of(ev.opened(1), ev.accepted(2))
    assert json.loads(json.dumps(timeline.as_dict())) == {
        "connection": str(ev.ID),
        "path": "/chat",
        "opened": 1,
        "closed": False,
        "dropped": 0,
        "entries": [entry.as_dict() | {"detail": [], "tasks": []} for entry in timeline.entries],
    }


def test_nothing_that_is_alive_is_kept() -> None:
    class Failure(Exception):
        pass

    recorder = Recorder()
    error = Failure("with a frame")
    dead = weakref.ref(error)
    recorder(ev.opened())
    recorder(ev.failed(1, error))
    recorder(ev.broken(1, error))
    recorder(ev.ended(1, 0, error))
    recorder(ev.closed(1, error))
    del error
    gc.collect()
    assert dead() is None


def test_events_of_unknown_kinds_are_left_out() -> None:
    recorder = Recorder()
    recorder(ev.opened())
    recorder(hooks.Event(ev.ID, 1))
    recorder(ev.accepted(2))
    assert [entry.number for entry in recorder.entries()] == [0, 1]


def test_messages_go_first_when_there_are_too_many() -> None:
    recorder = Recorder(max_entries=4)
    for event in [
        ev.opened(),
        ev.sent(1),
        ev.accepted(2),
        ev.full(3),
        ev.dropped(4, 2),
        ev.received(5),
    ]:
        recorder(event)
    assert texts(recorder) == [
        "opened /chat",
        "accepted",
        "2 messages dropped unsent",
        "received 5 bytes",
    ]
    assert recorder.timeline(ev.ID).dropped == 2


def test_the_first_and_the_last_stay() -> None:
    recorder = Recorder(max_entries=3)
    for event in [ev.opened(), ev.accepted(1), ev.failed(2, OSError()), ev.ended(3), ev.closed(4)]:
        recorder(event)
    assert texts(recorder) == ["opened /chat", "body returned", "closed, no close code"]
    assert recorder.timeline(ev.ID).dropped == 2


def test_the_names_of_tasks_that_have_ended_are_given_up() -> None:
    recorder = Recorder(max_entries=2)
    recorder(ev.opened())
    for task in range(1, 1000):
        recorder(ev.started(task, task, f"task-{task}"))
        recorder(ev.ended(task, task))
    assert texts(recorder) == ["opened /chat", "task-999 returned"]
    (track,) = recorder._tracks.values()
    assert track.names == {0: "body"}


def test_the_oldest_closed_connection_goes_first() -> None:
    recorder = Recorder(max_connections=2)
    recorder(ev.opened(0, "/1", UUID(int=1)))
    recorder(ev.opened(0, "/2", UUID(int=2)))
    recorder(ev.closed(1, connection=UUID(int=2)))
    recorder(ev.opened(2, "/3", UUID(int=3)))
    assert [timeline.path for timeline in recorder.timelines()] == ["/1", "/3"]
    recorder(ev.opened(3, "/4", UUID(int=4)))
    assert [timeline.path for timeline in recorder.timelines()] == ["/3", "/4"]
    kept = len(recorder.entries())
    recorder(ev.closed(4, connection=UUID(int=1)))  # of one that is not kept any more
    recorder(ev.sent(4))
    assert len(recorder.entries()) == kept
    with pytest.raises(KeyError):
        recorder.timeline(UUID(int=1))


def test_the_entries_of_all_in_order() -> None:
    recorder = Recorder()
    recorder(ev.opened(0, "/1", ev.ID))
    recorder(ev.opened(0, "/2", ev.OTHER))
    recorder(ev.received(1))
    recorder(ev.accepted(2, connection=ev.OTHER))
    recorder(ev.accepted(3))
    entries = recorder.entries()
    assert [entry.number for entry in entries] == [0, 1, 2, 3, 4]
    assert [str(entry) for entry in recorder.entries(after=2)] == ["accepted", "accepted"]
    assert recorder.entries(after=4) == []


def test_it_may_leave_messages_out() -> None:
    assert Recorder().messages
    assert not Recorder(messages=False).messages


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"max_connections": 0}, "max_connections must be at least 1, got 0"),
        ({"max_entries": 1}, "max_entries must be at least 2, got 1"),
    ],
)
def test_bounds(arguments: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        Recorder(**arguments)  # type: ignore[arg-type]
