"""The sentence about what followed a press of a button."""

from typing import Any
from xml.etree import ElementTree

import anyio
import pytest

from examples.demonstration import _stories
from examples.demonstration._stories import WATCHED_SECONDS, Stories, since
from tests.demonstration._peers import staged, until
from tests.rooms._members import opened
from wsnursery import Options, WebSocket
from wsnursery.timeline import Recorder


async def brief(_: WebSocket) -> None:
    pass


async def lasting(_: WebSocket) -> None:
    await anyio.sleep_forever()


def texts(shown: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["kind"], entry["text"]) for entry in shown["entries"]]


async def test_a_timeline_from_a_moment_on() -> None:
    recorder = Recorder(messages=False)
    async with opened(Options(hooks=[recorder])) as (ws, _):
        ws.start_soon(brief, ws)
        ws.start_soon(lasting, ws)
        await anyio.sleep(100)
        begun = anyio.current_time()
        whole = recorder.timeline(ws.id)
        trimmed = since(whole, begun)
        assert trimmed.opened == begun
        # The lanes of what is there; `brief` is not.
        assert [(entry.kind, entry.label) for entry in trimmed.entries] == [
            ("opened", "/"),
            ("task_started", "lasting"),
        ]
        assert {entry.time for entry in trimmed.entries} == {begun}
        await anyio.sleep(1)
        ws.start_soon(brief, ws)
        await anyio.wait_all_tasks_blocked()
        later = since(recorder.timeline(ws.id), begun)
        assert [(entry.kind, entry.label) for entry in later.entries[2:]] == [
            ("task_started", "brief"),
            ("task_ended", "brief"),
        ]
        assert later.entries[-1].time == begun + 1
        ws.cancel_scope.cancel()


async def test_a_story_grows_until_its_connection_is_closed() -> None:
    recorder = Recorder(messages=False)
    stories = Stories(recorder)
    assert stories.newest is stories.get(1) is None
    async with opened(Options(hooks=[recorder])) as (ws, _):
        await anyio.sleep(100)
        stories.begin("fail", ws, anyio.current_time())
        (story,) = stories.changed(anyio.current_time())
        assert story is stories.get(1)
        assert stories.get(2) is None
        assert stories.changed(anyio.current_time()) == []
        assert story.shown() == {
            "number": 1,
            "action": "fail",
            "name": "somebody",
            "over": False,
            "entries": [],
        }
        await anyio.sleep(1)
        ws.cancel_scope.cancel()
    assert stories.changed(anyio.current_time()) == [story]
    shown = story.shown()
    assert shown["over"]
    assert shown["entries"][0]["at"] == 1
    assert [kind for kind, _ in texts(shown)][-1] == "closed"
    assert stories.changed(anyio.current_time()) == []


async def test_a_connection_that_stays_open() -> None:
    recorder = Recorder(messages=False)
    stories = Stories(recorder)
    async with opened(Options(hooks=[recorder])) as (ws, _):
        stories.begin("flood", ws, anyio.current_time())
        await anyio.sleep(WATCHED_SECONDS)
        (story,) = stories.changed(anyio.current_time())
        assert texts(story.shown()) == [("open", "the connection is still open")]
        assert story.over


async def test_repeated_events_are_shown_once() -> None:
    async with staged() as stage, stage.connect("/test") as tested:
        await until(tested, "tick")
        (subject,) = stage.app.subjects
        stage.app.stories.begin("stall", subject.ws, anyio.current_time())
        subject.seam.stall()
        await tested.until_finished()
        await anyio.sleep(1)
        story = stage.app.stories.newest
        assert story is not None
        (full,) = [entry for entry in story.shown()["entries"] if entry["kind"] == "buffer_full"]
        assert full["text"].endswith(" times)")


async def test_it_is_drawn_as_wide_as_there_is_room() -> None:
    recorder = Recorder(messages=False)
    stories = Stories(recorder)
    async with opened(Options(hooks=[recorder])) as (ws, _):
        stories.begin("cancel", ws, anyio.current_time())
        await anyio.sleep(1)
        ws.start_soon(brief, ws)
    (story,) = stories.changed(anyio.current_time())
    widths = {}
    for width in (0, 500, 5000):
        drawing = ElementTree.fromstring(story.drawn(width))
        widths[width] = drawing.attrib["viewBox"].split()[2]
    assert widths == {0: "280", 500: "500", 5000: "900"}


async def test_only_the_newest_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    stories = Stories(Recorder())
    async with opened() as (ws, _):
        for _index in range(_stories.KEPT + 1):
            stories.begin("fail", ws, 0)
    assert stories.get(1) is None
    assert stories.get(2) is not None


async def test_a_connection_of_which_nothing_is_kept_any_more() -> None:
    stories = Stories(Recorder())
    async with opened() as (ws, _):
        stories.begin("fail", ws, 0)
        (story,) = stories.changed(0)
        assert story.over
        assert stories.changed(0) == []
