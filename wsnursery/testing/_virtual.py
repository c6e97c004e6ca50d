"""Virtual time: a backend on which waiting costs nothing and a deadlock is an error.

When every task waits, the clock jumps to the next timer. When there is no timer either, nothing
can ever happen again: that raises :class:`Deadlock` instead of hanging. When a task is always
runnable, the clock never jumps: that ends with :class:`Livelock`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ._livelock import MAX_TURNS
from ._virtual_asyncio import VirtualEventLoop


def virtual_backend(name: str, *, max_turns: int = MAX_TURNS) -> tuple[str, dict[str, Any]]:
    """The backend ``"asyncio"`` or ``"trio"`` on virtual time, for one run.

    The result fits ``anyio_backend`` fixtures and ``anyio.run``::

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return virtual_backend(request.param)

        name, options = virtual_backend("trio")
        anyio.run(main, backend=name, backend_options=options)

    The time starts at zero. Ask for a new one for every run. Work in threads and real I/O do
    not stop the clock: it jumps over them.

    Args:
        name: ``"asyncio"`` or ``"trio"``.
        max_turns: How many turns of the event loop may follow one another without any pause. After
            that a task runs in a circle: the applications of :func:`connect` are stopped and raise
            :class:`ApplicationStuck`; without one, or if that does not help, the run ends with
            :class:`Livelock`. Both name the task and its line.
    """
    if name == "asyncio":
        return name, {"loop_factory": partial(VirtualEventLoop, max_turns=max_turns)}
    if name == "trio":
        # Imported here: trio is not a dependency, and is there where somebody asks for it.
        from ._virtual_trio import virtual_options

        return name, virtual_options(max_turns)
    raise ValueError(f"virtual_backend() knows 'asyncio' and 'trio', not {name!r}")
