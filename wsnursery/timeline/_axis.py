"""The time axis of the picture of a timeline. It has no side effects.

The axis keeps the order of moments and, where possible, the distances between them. Two moments are
at least as far apart as a mark is wide. The rest of the width is divided in proportion to the time
between the moments. A distance that gets almost nothing of the rest is not to scale.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ._story import At, Story
from ._type import text_width
from ._words import duration

GAP = 18.0
"""The least distance of two moments, so that their marks do not overlap."""
LABEL_SIZE = 11.0
_LABEL_GAP = 8.0


@dataclass(frozen=True, slots=True)
class Label:
    """A time on the axis."""

    x: float
    """The place of the time on the axis."""
    left: float
    width: float
    text: str

    def collides(self, other: Label) -> bool:
        """Return whether two labels overlap or are too close."""
        return (
            self.left < other.left + other.width + _LABEL_GAP
            and other.left < self.left + self.width + _LABEL_GAP
        )


class Axis:
    """Converts points of time to places.

    Args:
        stories: The connections that share the axis.
        left: The place where the axis begins.
        right: The place where it ends.
    """

    def __init__(self, stories: Sequence[Story], left: float, right: float) -> None:
        self._left, self._right = left, right
        first = min(story.begin for story in stories)
        last = max(story.end for story in stories)
        moments = {moment.at for story in stories for moment in story.moments}
        self._points = sorted({first, last} | moments)
        steps = [max(after.time - before.time, 0.0) for before, after in pairwise(self._points)]
        self.gap: float = min(GAP, (right - left) / max(len(steps), 1))
        """The least distance of two moments; less than `GAP` if there are too many moments."""
        spare = right - left - self.gap * len(steps)
        elapsed = sum(steps)
        shares = [step / elapsed if elapsed else 1 / len(steps) for step in steps]
        widths = [self.gap + spare * share for share in shares]
        self._to_scale = [spare * share >= self.gap and elapsed > 0 for share in shares]
        self._places = list(accumulate(widths, initial=left))
        self._urgent = {moment.at for story in stories for moment in story.moments if moment.cuts}

    @property
    def end(self) -> float:
        """The place of the last known event."""
        return self._places[-1]

    def place(self, at: At) -> float:
        """Return the place of a point of time, interpolated between two moments."""
        index = bisect_right(self._points, at) - 1
        before = self._points[index]
        if at == before:
            return self._places[index]
        after = self._points[index + 1]
        if after.time > before.time:
            share = (at.time - before.time) / (after.time - before.time)
        else:
            share = (at.number - before.number) / (after.number - before.number)
        x1, x2 = self._places[index : index + 2]
        return x1 + (x2 - x1) * min(max(share, 0.0), 1.0)

    def pieces(self) -> Iterator[tuple[float, float, bool]]:
        """Yield the pieces from left to right: beginning, end, and whether it is to scale."""
        for (x1, x2), to_scale in zip(pairwise(self._places), self._to_scale, strict=True):
            yield x1, x2, to_scale

    def labels(self) -> list[Label]:
        """Return the times below the axis, without overlaps.

        Time 0 has priority, then the moments that affect other lanes, the end, and then any moment
        for which there is room.
        """
        labels: list[Label] = []
        urgent = [at for at in self._points if at in self._urgent]
        for at in [self._points[0], *urgent, self._points[-1], *self._points]:
            label = self._label(at)
            if label.text not in (other.text for other in labels) and not any(
                label.collides(other) for other in labels
            ):
                labels.append(label)
        return sorted(labels, key=lambda label: label.x)

    def _label(self, at: At) -> Label:
        text = duration(at.time - self._points[0].time)
        width = text_width(text, LABEL_SIZE)
        x = self.place(at)
        left = min(max(x - width / 2, self._left), self._right - width)
        return Label(x, left, width, text)
