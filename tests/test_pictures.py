"""The pictures of the documentation: up to date, self-contained, and described in words."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from tests.test_layers import MAY_IMPORT
from wsnursery._engine.states import TRANSITIONS, State, Transition

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
state_picture = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "state_picture.py")))
house_picture = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "house_picture.py")))
timeline_pictures = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "timeline_pictures.py")))
SVG = "{http://www.w3.org/2000/svg}"


def test_the_states_are_those_of_the_table() -> None:
    shown = (PICTURES / "states.svg").read_text(encoding="utf-8")
    assert shown == state_picture.picture(), "draw it again: python -m tools.state_picture"


def test_every_transition_is_in_the_description() -> None:
    words = state_picture.described(state_picture.grouped(TRANSITIONS))
    assert "from requested to accepting: accept;" in words
    assert "without leaving open: deliver a message, send, receive" in words


def test_a_transition_without_a_place_is_an_error() -> None:
    table = {**TRANSITIONS, State.OPEN: {Transition.REJECT: State.REJECTED}}
    with pytest.raises(ValueError, match="open to rejected"):
        state_picture.picture(table)


def test_the_house_is_that_of_the_table() -> None:
    shown = (PICTURES / "house.svg").read_text(encoding="utf-8")
    assert shown == house_picture.picture(), "draw it again: python -m tools.house_picture"


def test_an_arrow_leads_to_what_no_other_arrow_leads_to() -> None:
    arrows = house_picture.direct({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    assert arrows == {"a": {"b"}, "b": {"c"}, "c": {"ground"}}


def test_every_import_is_in_the_description() -> None:
    words = house_picture.described(MAY_IMPORT)
    assert "asgi may import _backend, _engine;" in words
    assert "_backend may import no other folder;" in words


def test_a_folder_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="attic"):
        house_picture.picture({**MAY_IMPORT, "attic": set()})


def test_all_arrows_of_the_house_point_down() -> None:
    places = house_picture.PLACES
    for name, found in house_picture.direct(MAY_IMPORT).items():
        assert all(places[below].floor > places[name].floor for below in found), name


@pytest.mark.parametrize("name", timeline_pictures.RUNS)
def test_the_timelines_are_those_of_the_runs(name: str) -> None:
    shown = (PICTURES / name).read_text(encoding="utf-8")
    assert shown == timeline_pictures.picture(name), "python -m tools.timeline_pictures"


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_is_accessible_and_whole(path: Path) -> None:
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    assert root.get("role") == "img"
    named = root.get("aria-labelledby", "").split()
    for part in ("title", "desc"):
        element = root.find(SVG + part)
        assert element is not None
        assert element.text
        # Without ids the first children name and describe it (SVG-AAM).
        assert element.get("id") in named if named else element in list(root)[:2]
    assert "prefers-color-scheme: dark" in path.read_text(encoding="utf-8")
    loaded = [element for element in root.iter() for name in element.keys() if "href" in name]  # noqa: SIM118
    assert loaded == []


def test_texts_do_not_leave_the_picture() -> None:
    root = ElementTree.fromstring(state_picture.picture())
    for text in root.iter(f"{SVG}text"):
        width = 8 * len(text.text or "")
        start = {"start": 0, "middle": width / 2, "end": width}[text.get("text-anchor", "start")]
        left = int(text.get("x", "")) - start
        assert 0 < left < left + width < state_picture.WIDTH, text.text


def test_texts_do_not_leave_the_boxes_of_the_house() -> None:
    for name, place in house_picture.PLACES.items():
        assert max(8.5 * len(name), 7 * len(place.words)) < place.width, name
