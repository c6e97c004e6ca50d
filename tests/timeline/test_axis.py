"""The axis of time."""

from itertools import pairwise

import pytest

from tests.timeline import _events as ev
from wsnursery import hooks
from wsnursery.timeline import Recorder
from wsnursery.timeline._axis import GAP, Axis
from wsnursery.timeline._story import At, story_of


def axis(*events: hooks.Event, right: float = 1000) -> Axis:
    return Axis([story_of(ev.timeline_of(*events))], 0, right)


def test_distances_are_in_proportion_to_time() -> None:
    found = axis(ev.opened(0), ev.accepted(1), ev.broken(4), ev.closed(5))
    spare = 1000 - 3 * GAP
    places = [found.place(At(number, time)) for number, time in enumerate([0, 1, 4, 5])]
    assert places == pytest.approx([0, GAP + spare / 5, 2 * GAP + spare * 4 / 5, 1000])
    assert found.end == pytest.approx(1000)
    assert [to_scale for _, _, to_scale in found.pieces()] == [True, True, True]


def test_what_happens_at_once_stands_side_by_side_and_not_to_scale() -> None:
    found = axis(ev.opened(0), ev.accepted(1), ev.failed(1, OSError()), ev.broken(1), ev.closed(2))
    places = [found.place(At(number, time)) for number, time in enumerate([0, 1, 1, 1, 2])]
    assert places[2] - places[1] == pytest.approx(GAP)
    assert places[3] - places[2] == pytest.approx(GAP)
    assert [to_scale for _, _, to_scale in found.pieces()] == [True, False, False, True]


def test_an_instant_is_divided_evenly() -> None:
    found = axis(ev.opened(3), ev.accepted(3), ev.closed(3))
    assert [found.place(At(number, 3)) for number in range(3)] == [0, 500, 1000]
    assert [to_scale for _, _, to_scale in found.pieces()] == [False, False]


def test_a_clock_that_goes_backwards() -> None:
    found = axis(ev.opened(3), ev.accepted(1), ev.sent(9), ev.closed(2))
    places = [found.place(At(number, time)) for number, time in enumerate([3, 1, 9, 2])]
    assert places == sorted(places)


def test_messages_stand_between_the_moments() -> None:
    found = axis(ev.opened(0), ev.sent(1), ev.sent(3), ev.accepted(4), ev.sent(4), ev.closed(4))
    left, right = found.place(At(0, 0)), found.place(At(3, 4))
    assert found.place(At(1, 1)) == pytest.approx(left + (right - left) / 4)
    assert found.place(At(2, 3)) == pytest.approx(left + (right - left) * 3 / 4)
    assert found.place(At(4, 4)) == pytest.approx((right + found.place(At(5, 4))) / 2)


def test_nothing_has_happened_yet() -> None:
    found = axis(ev.opened(7))
    assert (found.place(At(0, 7)), found.end) == (0, 0)
    assert list(found.pieces()) == []
    assert [label.text for label in found.labels()] == ["0 s"]


def test_more_moments_than_there_is_room_for() -> None:
    events = [ev.accepted(number) for number in range(100)]
    found = axis(ev.opened(0), *events, ev.closed(100), right=300)
    assert found.gap < GAP
    assert found.end == pytest.approx(300)


def test_labels_stand_apart_and_within_the_axis() -> None:
    found = axis(
        ev.opened(0),
        ev.accepted(0.01),
        ev.full(0.5),
        ev.failed(1, OSError()),
        ev.broken(1.0001),
        ev.closed(9),
        right=200,
    )
    labels = found.labels()
    assert [label.text for label in labels] == ["0 s", "1 s", "9 s"]
    for before, after in pairwise(labels):
        assert before.left + before.width < after.left
    assert labels[0].left >= 0
    assert labels[-1].left + labels[-1].width <= 200


def test_connections_share_it() -> None:
    recorder = Recorder()
    recorder(ev.opened(5))
    recorder(ev.opened(6, connection=ev.OTHER))
    recorder(ev.closed(7))
    recorder(ev.closed(8, connection=ev.OTHER))
    found = Axis([story_of(timeline) for timeline in recorder.timelines()], 0, 300)
    assert found.place(At(0, 5)) == 0
    assert found.place(At(3, 8)) == pytest.approx(300)
    assert [label.text for label in found.labels()] == ["0 s", "2 s", "3 s"]
