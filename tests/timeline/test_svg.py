"""The picture as SVG."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timeline import _events as ev
from tests.timeline.test_layout import SEND_FAILS
from wsnursery.timeline import Recorder, svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


def parsed(drawn: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawn)


def contents(root: ElementTree.Element, tag: str) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter(NAMESPACE + tag)]


def test_it_is_an_image_with_a_name_and_a_description() -> None:
    root = parsed(svg(ev.timeline_of(*SEND_FAILS)))
    assert (root.tag, root.get("role")) == (f"{NAMESPACE}svg", "img")
    assert contents(root, "title") == ["WebSocket /chat"]
    (description,) = contents(root, "desc")
    assert description.startswith("accepted; send failed \u2190 BrokenPipeError: [Errno 32]")
    assert "its clean-up took 400 ms; closed, no close code \u2190 WebSocketDisconn" in description
    assert contents(parsed(svg(ev.timeline_of(ev.opened()), title="A & B")), "title") == ["A & B"]


def test_a_way_without_recorded_messages_has_a_name_and_nothing_else() -> None:
    drawn = svg(ev.timeline_of(ev.opened(), ev.failed(1, OSError()), ev.broken(1), ev.closed(2)))
    assert "sent" in contents(parsed(drawn), "text")


def test_its_size_follows_the_width() -> None:
    root = parsed(svg(ev.timeline_of(*SEND_FAILS), width=800))
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    assert (left, top, width) == (0, 0, 800)
    assert float(root.attrib["width"]) == 1000
    assert float(root.attrib["height"]) == pytest.approx(height * 1.25, abs=0.1)


def test_it_needs_nothing_else_and_runs_nothing() -> None:
    drawn = svg(ev.timeline_of(*SEND_FAILS), title="A title")
    root = parsed(drawn)
    tags = {element.tag.removeprefix(NAMESPACE) for element in root.iter()}
    shapes = {"rect", "path", "circle", "text", "tspan"}
    assert tags == {"svg", "title", "desc", "style"} | shapes
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or "href" in name}
    assert "id" not in attributes  # it may stand in a page several times
    assert "url(" not in drawn
    assert "@import" not in drawn


def test_every_class_has_a_colour_in_both_modes() -> None:
    root = parsed(svg(ev.timeline_of(*SEND_FAILS), title="A title"))
    (style,) = contents(root, "style")
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    classes = {name for element in root.iter() for name in element.get("class", "").split()}
    for name in classes - {"wsn-timeline"}:
        assert f".{name}" in light
        assert f".{name}" in dark


def test_equal_input_gives_equal_output() -> None:
    assert svg(ev.timeline_of(*SEND_FAILS)) == svg(ev.timeline_of(*SEND_FAILS))


EVIL = "</text><script>alert('1')</script> & \"x\" \x00\x1b[2J\ud800\ufffe\n"


def test_what_peers_send_is_text() -> None:
    drawn = svg(
        ev.timeline_of(
            ev.opened(0, EVIL),
            ev.accepted(0, EVIL),
            ev.started(1, 1, EVIL),
            ev.disconnected(1, 1000, EVIL),
            ev.ended(1, 1, ValueError(EVIL)),
            ev.closed(2, ValueError(EVIL), 1000, EVIL),
        ),
        title=EVIL,
    )
    root = parsed(drawn)
    assert "<script" not in drawn
    assert contents(root, "title")[0].startswith("</text><script>alert('1')</script> & \"x\" \\x00")


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text())
def test_any_text_gives_valid_xml(path: str, text: str) -> None:
    root = parsed(svg(ev.timeline_of(ev.opened(0, path), ev.failed(1, OSError(text)))))
    assert contents(root, "text")


def test_more_moments_than_numbers_have_room() -> None:
    moments = [ev.accepted(time) for time in range(60)]
    root = parsed(svg(ev.timeline_of(ev.opened(), *moments)))
    numbers = [element for element in root.iter() if element.get("class") == "wsn-number"]
    assert (len(contents(root, "circle")), len(numbers)) == (120, 60)


def test_several_connections() -> None:
    recorder = Recorder()
    recorder(ev.opened(0, "/1"))
    recorder(ev.opened(0, "/2", ev.OTHER))
    root = parsed(svg(*recorder.timelines()))
    assert contents(root, "title") == ["WebSocket /1, WebSocket /2"]


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(
        ValueError, match=r"^svg\(\) needs at least one timeline, got none: has the recorder"
    ):
        svg()
    with pytest.raises(ValueError, match=r"^width must be at least 240, got 200$"):
        svg(ev.timeline_of(ev.opened()), width=200)
