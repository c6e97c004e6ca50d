"""Medians and their spread."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Compute it from the values."""
        ordered = list(values)
        if len(ordered) == 1:
            return cls(ordered[0], ordered[0], ordered[0])
        return cls(*statistics.quantiles(ordered, n=4))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which this share of the sorted values lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
