"""The report of the plugin about a failed test: transcripts and timelines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from wsnursery.timeline import Recorder, Timeline, svg, text

from ._explore import ExplorationFailed
from ._transcript import attached


def sections(
    error: BaseException, recorder: Recorder | None, name: str, directory: Path | None
) -> Iterator[tuple[str, str]]:
    """Yield what is shown below the traceback: headings and texts.

    Args:
        error: The exception of the test.
        recorder: The recorder of the test, if it has one.
        name: The name of the test.
        directory: The directory for pictures; `None` to draw none.
    """
    for transcript in attached(error):
        yield "wsnursery: what crossed the wire", transcript
    timelines = _timelines(error, recorder)
    if timelines and not isinstance(error, ExplorationFailed):  # its message already has them
        yield "wsnursery: timeline", text(*timelines)
    if timelines and directory is not None:
        yield "wsnursery: picture", _draw(timelines, name, directory)


def _timelines(error: BaseException, recorder: Recorder | None) -> list[Timeline]:
    if isinstance(error, ExplorationFailed):
        return error.failure.timelines
    return [] if recorder is None else recorder.timelines()


def _draw(timelines: list[Timeline], name: str, directory: Path) -> str:
    """Draw the picture. Return its path, or the reason if that fails, without raising."""
    path = directory / (re.sub(r"[^\w.-]+", "-", name)[-150:].strip("-") + ".svg")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(svg(*timelines, title=name) + "\n", encoding="utf-8")
    except OSError as exc:
        return f"not drawn: {exc}"
    return str(path)
