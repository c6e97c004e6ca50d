"""The width of texts, and their lines."""

import pytest

from wsnursery.timeline._type import text_width, truncated, wrapped


def test_widths() -> None:
    assert text_width("", 10) == 0
    assert text_width("i", 10) < text_width("n", 10) < text_width("N", 10) < text_width("W", 10)
    assert text_width("\u4e16", 10) == 10
    assert text_width("nn", 5) == text_width("n", 10)


def test_a_text_that_fits_is_not_cut() -> None:
    assert truncated("nnnn", 10, 24) == "nnnn"
    assert truncated("nnnnn", 10, 24) == "nnn\u2026"
    assert truncated("nnnnn", 10, 0) == "\u2026"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("nn nn", ["nn nn"]),
        ("nn nn nn", ["nn nn", "nn"]),
        ("nnnnnnnnnn nn", ["nnnnn", "nnnnn", "nn"]),
        ("nn nnnnnn", ["nn", "nnnnn", "n"]),
    ],
)
def test_lines(text: str, lines: list[str]) -> None:
    assert wrapped(text, 10, 30) == lines
