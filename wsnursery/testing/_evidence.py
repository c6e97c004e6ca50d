"""What the plugin shows of a test that has failed: what crossed the wire, and the timelines."""

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
    """What is shown below the traceback: headings and texts.

    Args:
        error: What the test raised.
        recorder: The test's, if it has one.
        name: The test's.
        directory: Where pictures go; `None`: nowhere.
    """
    for transcript in attached(error):
        yield "wsnursery: what crossed the wire", transcript
    timelines = _timelines(error, recorder)
    if timelines and not isinstance(error, ExplorationFailed):  # that one has it in its message
        yield "wsnursery: timeline", text(*timelines)
    if timelines and directory is not None:
        yield "wsnursery: picture", _draw(timelines, name, directory)


def _timelines(error: BaseException, recorder: Recorder | None) -> list[Timeline]:
    if isinstance(error, ExplorationFailed):
        return error.failure.timelines
    return [] if recorder is None else recorder.timelines()


def _draw(timelines: list[Timeline], name: str, directory: Path) -> str:
    """The path of the picture, or why there is none: it must not hide why the test failed."""
    path = directory / (re.sub(r"[^\w.-]+", "-", name)[-150:].strip("-") + ".svg")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(svg(*timelines, title=name) + "\n", encoding="utf-8")
    except OSError as exc:
        return f"not drawn: {exc}"
    return str(path)
