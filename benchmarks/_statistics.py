"""Medians and their spread."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of any number of values."""
        ordered = list(values)
        if len(ordered) == 1:
            return cls(ordered[0], ordered[0], ordered[0])
        return cls(*statistics.quantiles(ordered, n=4))
