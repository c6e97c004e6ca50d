"""What is shown of a test that has failed."""

from pathlib import Path
from xml.etree import ElementTree

from tests.timeline import _events as ev
from wsnursery import testing, timeline
from wsnursery.testing import Transcript, TranscriptEntry
from wsnursery.testing._evidence import sections
from wsnursery.testing._transcript import attach


def recorder() -> timeline.Recorder:
    recorder = timeline.Recorder()
    recorder(ev.opened())
    return recorder


def test_nothing_to_show() -> None:
    assert list(sections(ValueError(), None, "test", Path("nowhere"))) == []
    assert list(sections(ValueError(), timeline.Recorder(), "test", Path("nowhere"))) == []


def test_transcripts_and_timelines() -> None:
    error, transcript = ValueError(), Transcript()
    transcript.add(TranscriptEntry(0, "app", "accept"))
    attach(transcript, error)
    (wire, crossed), (heading, text) = sections(error, recorder(), "test", None)
    assert wire == "wsnursery: what crossed the wire"
    assert crossed.endswith("app accept")
    assert heading == "wsnursery: timeline"
    assert text.endswith("opened /chat")


def test_a_picture(tmp_path: Path) -> None:
    name = f"tests/test_it.py::test[{'x' * 200}-a/b c]"
    *_, (heading, path) = sections(ValueError(), recorder(), name, tmp_path / "new")
    assert heading == "wsnursery: picture"
    assert Path(path).parent == tmp_path / "new"
    assert Path(path).name.endswith("xxx-a-b-c.svg")
    ElementTree.fromstring(Path(path).read_text(encoding="utf-8"))


def test_a_picture_that_cannot_be_written_hides_nothing(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    *_, (_, text) = sections(ValueError(), recorder(), "test", taken)
    assert text.startswith("not drawn: ")


def test_an_exploration_has_its_timelines_in_its_message(tmp_path: Path) -> None:
    failure = testing.FailedRun("asyncio:", 1, ValueError(), "", recorder().timelines())
    ((heading, path),) = sections(testing.ExplorationFailed(failure), None, "test", tmp_path)
    assert (heading, path) == ("wsnursery: picture", str(tmp_path / "test.svg"))
