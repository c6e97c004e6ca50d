"""Timelines: the recorded events of connections, as data, text, a picture or a trace.

::

    recorder = Recorder()

    @websocket_app(options=Options(hooks=[recorder]))
    async def app(ws: WebSocket) -> None:
        ...

    Path("timeline.svg").write_text(svg(*recorder.timelines()))
"""

from __future__ import annotations

from ._entries import Entry
from ._recorder import Recorder, Timeline
from ._svg import svg
from ._text import text
from ._trace import trace

__all__ = ["Entry", "Recorder", "Timeline", "svg", "text", "trace"]

# Show the public path in reprs, tracebacks and pickles, not the private module.
for _public in (Entry, Recorder, Timeline, svg, text, trace):
    _public.__module__ = __name__
