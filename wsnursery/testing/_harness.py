"""Run an async function once, deterministically, and observe every step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Any, TypeVarTuple, cast

import anyio

from ._control import Control
from ._virtual_asyncio import VirtualEventLoop

Ts = TypeVarTuple("Ts")


def run_once(backend: str, main: Callable[[], Awaitable[None]], control: Control) -> None:
    """Run ``main`` on virtual time.

    Raises:
        Deadlock: Nothing could ever happen again.
        Livelock: The control had to force it to stop.
    """
    if backend == "trio":
        from ._harness_trio import controlled

        with controlled(control) as options:
            anyio.run(main, backend="trio", backend_options=options)
    elif backend == "asyncio":
        factory = partial(_SteppedLoop, control)
        anyio.run(main, backend="asyncio", backend_options={"loop_factory": factory})
    else:
        raise ValueError(f"the backend must be 'asyncio' or 'trio', got {backend!r}")


class _SteppedLoop(VirtualEventLoop):
    """An event loop that reports every callback before it runs."""

    def __init__(self, control: Control) -> None:
        self._control = control
        super().__init__(control.check)

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        return super().call_soon(self._step, callback, args, context=context)

    def _step(self, callback: Callable[[*Ts], object], args: tuple[*Ts]) -> None:
        task: Any = getattr(callback, "__self__", None)
        if isinstance(task, asyncio.Task):
            self._control.on_step(cast("object", task.get_coro()), task.get_name())
        else:
            self._control.on_step(None, "")
        callback(*args)
