"""The estimated width of a text, without its font, and how to break it into lines."""

from __future__ import annotations

import unicodedata

_NARROW = frozenset("ijlftrI .,:;'|!()[]{}/-`\"")
_WIDE = frozenset("mwMW@%\N{LEFTWARDS ARROW}")


def text_width(text: str, size: float) -> float:
    """Estimate the width of a text in a sans-serif font. The estimate is rather too large.

    Args:
        text: One line.
        size: The font size.

    Returns:
        The width in the unit of the size.
    """
    return size * sum(map(_em, text))


def _em(character: str) -> float:
    if character in _NARROW:
        return 0.38
    if character in _WIDE or unicodedata.east_asian_width(character) in "WF":
        return 1.0
    return 0.7 if character.isupper() else 0.6


def truncated(text: str, size: float, width: float) -> str:
    """Shorten a text to a width, with an ellipsis if it was too long."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}\N{HORIZONTAL ELLIPSIS}", size) > width:
        text = text[:-1]
    return f"{text}\N{HORIZONTAL ELLIPSIS}"


def wrapped(text: str, size: float, width: float) -> list[str]:
    """Break a text into lines of at most this width, at its spaces where that is possible."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(longer, size) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if text_width(lines[-1] + character, size) > width:
                lines.append("")
            lines[-1] += character
    return lines
