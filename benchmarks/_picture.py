"""The ratios to the raw loop as a picture: an SVG file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "wsnursery"})
_OURS, _OTHERS = "#2a7f62", "#9aa5b1"
_Row = Mapping[str, Any]


def draw(rows: Sequence[_Row], environment: Mapping[str, Any], path: Path) -> None:
    """Draw what `inprocess` has measured.

    Args:
        rows: its cells, as in its JSON.
        environment: named below the picture.
        path: of the SVG file.
    """
    groups = list(dict.fromkeys((row["server"], row["backend"]) for row in rows))
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    figure: Any
    grid: Any
    figure, grid = plt.subplots(
        len(groups),
        len(shapes),
        figsize=(2.6 * len(shapes), 2.2 * len(groups)),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for line, (server, backend) in zip(grid, groups, strict=True):
        for axes, shape in zip(line, shapes, strict=True):
            chosen = [
                row
                for row in rows
                if (row["server"], row["backend"], row["shape"]) == (server, backend, shape)
                and row["app"] != "raw"
            ]
            _bars(axes, chosen, f"{server}, {backend}: {shape}")
    figure.supxlabel(
        f"{environment['python']}, {environment['processor']}, {environment['date']}; "
        "1 is a hand-written loop, higher is better, lines are quartiles",
        fontsize=7,
    )
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _bars(axes: Any, rows: Sequence[_Row], title: str) -> None:
    ratios = [row["ratio"] for row in rows]
    middles = [ratio["median"] for ratio in ratios]
    axes.barh(
        [row["app"].replace("_", "-") for row in rows],
        middles,
        xerr=[
            [ratio["median"] - ratio["low"] for ratio in ratios],
            [ratio["high"] - ratio["median"] for ratio in ratios],
        ],
        color=[_OURS if row["app"] == "wsnursery" else _OTHERS for row in rows],
        error_kw={"elinewidth": 0.8},
    )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=7)
    axes.tick_params(labelsize=7)
    axes.set_xlim(0, 1.15)
    for place, middle in enumerate(middles):
        axes.text(0.03, place, f"{middle:.2f}", va="center", fontsize=7, color="white")
