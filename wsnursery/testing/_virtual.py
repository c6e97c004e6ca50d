"""Virtual time: a backend on which waiting costs nothing and a deadlock is an error.

When every task waits, the clock jumps to the next timer. If there is no timer, nothing can ever
happen again, so :class:`Deadlock` is raised instead of hanging. If a task is always runnable, the
clock never jumps, which ends with :class:`Livelock`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ._livelock import MAX_TURNS
from ._virtual_asyncio import VirtualEventLoop


def virtual_backend(name: str, *, max_turns: int = MAX_TURNS) -> tuple[str, dict[str, Any]]:
    """Return the backend ``"asyncio"`` or ``"trio"`` on virtual time, for one run.

    The result fits ``anyio_backend`` fixtures and ``anyio.run``::

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return virtual_backend(request.param)

        name, options = virtual_backend("trio")
        anyio.run(main, backend=name, backend_options=options)

    The time starts at zero. Call this again for every run. The clock does not wait for threads and
    real I/O: it jumps past them.

    Args:
        name: ``"asyncio"`` or ``"trio"``.
        max_turns: The most consecutive turns of the event loop at one instant. Beyond that, a task
            is assumed to loop without waiting. The applications of :func:`connect` are stopped, and
            raise :class:`ApplicationStuck`. If there is none, or if that does not help, the run
            ends with :class:`Livelock`. Both name the task and its line.
    """
    if name == "asyncio":
        return name, {"loop_factory": partial(VirtualEventLoop, max_turns=max_turns)}
    if name == "trio":
        # Import it only here, because trio is not a dependency.
        from ._virtual_trio import virtual_options

        return name, virtual_options(max_turns)
    raise ValueError(f"the backend must be 'asyncio' or 'trio', got {name!r}")
