"""Where everything stands in the picture."""

from dataclasses import replace
from itertools import combinations
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timeline import _events as ev
from wsnursery import WebSocketDisconnected, hooks
from wsnursery.timeline import Recorder
from wsnursery.timeline._layout import SIZES, Picture, layout
from wsnursery.timeline._story import story_of
from wsnursery.timeline._type import text_width


def draw(*events: hooks.Event, title: str = "", width: float = 420, keep: int = 500) -> Picture:
    recorder = Recorder(max_entries=keep)
    for event in events:
        recorder(event)
    return layout([story_of(timeline) for timeline in recorder.timelines()], title, width)


def texts(picture: Picture, style: str) -> list[str]:
    return [text.text for text in picture.texts if text.style == style]


CAUSE = OSError(32, "Broken pipe, because the machine on the other side has gone away")
OUTCOME = WebSocketDisconnected(None, "", 3)
OUTCOME.__cause__ = CAUSE

SEND_FAILS = [
    ev.opened(0),
    ev.accepted(0),
    ev.started(0, 1, "a_function_with_quite_a_long_name_that_does_not_go_into_one_line_at_all"),
    ev.received(0.5),
    ev.sent(1),
    ev.failed(2, CAUSE),
    ev.broken(2, CAUSE),
    ev.cancelled(2, 1),
    ev.ended(2, 0, OUTCOME),
    ev.ended(2.4, 1, by_cancel=True),
    ev.closed(2.4, OUTCOME),
]


def test_the_parts() -> None:
    picture = draw(*SEND_FAILS, title="What happened")
    assert texts(picture, "title") == ["What happened"]
    lanes = texts(picture, "lane")
    assert lanes[0] == "WebSocket /chat"
    assert lanes[1:3] == ["received", "body"]
    assert lanes[3].startswith("a_function_with")
    assert lanes[3].endswith("\u2026")
    assert texts(picture, "label") == ["0 s", "2 s", "2.4 s"]
    assert texts(picture, "key") == ["outlined: winding down \u00b7 dotted: not to scale"]
    assert texts(picture, "time") == ["0 s", "2 s", "", "", "", "2.4 s", ""]
    assert texts(picture, "detail")[-2:] == [
        "\u2190 BrokenPipeError: [Errno 32] Broken pipe, because",
        "the machine on the other side has gone away",
    ]
    # Every moment twice: in its lane and in the list.
    assert sorted(mark.text for mark in picture.marks) == sorted("1234567" * 2)
    assert [box.outlined for box in picture.boxes].count(True) == 3
    assert [stroke.tone for stroke in picture.strokes if stroke.style == "cut"] == [
        "bad",
        "bad",
        "warn",
    ]


def test_what_goes_on_reaches_to_the_end() -> None:
    picture = draw(ev.opened(0), ev.accepted(1))
    assert [(box.x, round(box.x + box.width), box.outlined) for box in picture.boxes] == [
        (14, 398, False),
        (14, 398, False),
    ]
    assert texts(picture, "key") == []


def test_a_task_that_took_no_time_can_be_seen() -> None:
    picture = draw(ev.opened(0), ev.started(1, 1, "quick"), ev.ended(1, 1), ev.closed(9))
    assert min(box.width for box in picture.boxes) == 2


def test_many_messages_are_a_few_higher_strokes() -> None:
    picture = draw(ev.opened(0), *(ev.sent(1 + n / 100) for n in range(400)), ev.closed(10))
    strokes = [stroke for stroke in picture.strokes if stroke.style == "message"]
    assert 40 < len(strokes) < 70
    heights = {round(stroke.y1 - stroke.y2) for stroke in strokes}
    assert min(heights) >= 6
    assert 6 < max(heights) <= 14


def test_equal_times_are_shown_by_their_distance() -> None:
    picture = draw(ev.opened(0), ev.accepted(2.001), ev.broken(2.0013), ev.closed(2.0013))
    assert texts(picture, "time") == ["2 s", "+300 \u00b5s", ""]


def test_connections_have_letters() -> None:
    picture = draw(
        ev.opened(0, "/1"),
        ev.opened(1, "/2", ev.OTHER),
        ev.closed(2, connection=ev.OTHER),
        ev.closed(3),
    )
    assert texts(picture, "lane") == ["A WebSocket /1", "body", "B WebSocket /2", "body"]
    assert texts(picture, "row") == ["B: closed, no close code", "A: closed, no close code"]


def test_the_27th_connection() -> None:
    recorder = Recorder()
    for number in range(27):
        recorder(ev.opened(0, f"/{number}", UUID(int=number)))
    picture = layout([story_of(timeline) for timeline in recorder.timelines()], "", 420)
    lanes = [lane for lane in texts(picture, "lane") if lane != "body"]
    assert lanes[-2:] == ["Z WebSocket /25", "27 WebSocket /26"]


def test_the_error_names_what_is_missing() -> None:
    picture = draw(ev.opened(0), *(ev.accepted(time) for time in range(5)), keep=3)
    assert texts(picture, "key")[-1] == "3 older entries not kept"


def test_marks_without_room_have_no_numbers_in_the_lanes() -> None:
    picture = draw(ev.opened(0), *(ev.accepted(time) for time in range(60)))
    small = [mark for mark in picture.marks if mark.radius < 6]
    assert [mark.text for mark in small] == [""] * 60
    assert [mark.text for mark in picture.marks if mark.radius == 8][-1] == "60"


def test_nothing_has_happened_yet() -> None:
    picture = draw(ev.opened(0))
    assert picture.marks == []
    assert texts(picture, "label") == ["0 s"]


Extent = tuple[float, float, float, float]

events = st.lists(
    st.one_of(
        st.builds(ev.accepted, st.just(0)),
        st.builds(ev.started, st.just(0), st.integers(1, 5), st.text(max_size=80)),
        st.builds(ev.sent, st.just(0)),
        st.builds(ev.full, st.just(0)),
        st.builds(ev.dropped, st.just(0), st.integers(1, 1000)),
        st.builds(ev.failed, st.just(0), st.builds(OSError, st.text(max_size=300))),
        st.builds(ev.disconnected, st.just(0), st.integers(1000, 4999), st.text(max_size=123)),
        st.builds(ev.cancelled, st.just(0), st.integers(0, 5), st.integers(0, 5)),
        st.builds(ev.ended, st.just(0), st.integers(0, 5), st.none() | st.just(CAUSE)),
    ),
    max_size=30,
)


def extents(picture: Picture) -> list[Extent]:
    """Where texts and marks stand: left, right, top, bottom."""
    found: list[Extent] = [
        (mark.x - mark.radius, mark.x + mark.radius, mark.y - mark.radius, mark.y + mark.radius)
        for mark in picture.marks
    ]
    for text in picture.texts:
        size = SIZES[text.style]
        width = text_width(text.text, size) + text_width(text.note, SIZES["note"])
        left = text.x - width * {"start": 0, "middle": 0.5, "end": 1}[text.anchor]
        found.append((left, left + width, text.y - 0.7 * size, text.y + 0.2 * size))
    return found


def overlap(one: Extent, two: Extent) -> bool:
    little = 1e-6
    return (
        one[0] < two[1] - little
        and two[0] < one[1] - little
        and one[2] < two[3] - little
        and two[2] < one[3] - little
    )


@settings(max_examples=25, deadline=None)
@given(events, st.lists(st.sampled_from([0, 0, 1e-6, 0.01, 1, 3600])), st.text(max_size=100))
@pytest.mark.parametrize("width", [240, 420, 900])
def test_nothing_stands_over_anything_or_outside(
    width: int, happened: list[hooks.Event], steps: list[float], title: str
) -> None:
    time = 0.0
    timed: list[hooks.Event] = [ev.opened(0)]
    for number, event in enumerate(happened):
        time += steps[number] if number < len(steps) else 0
        timed.append(replace(event, time=time))
    picture = draw(*timed, title=title.strip(), width=width)
    places = extents(picture)
    for left, right, top, bottom in places:
        assert left >= 0
        assert right <= width
        assert top >= 0
        assert bottom <= picture.height
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]
