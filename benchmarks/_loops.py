"""Servers and a script in one thread: the script continues when the servers have nothing to do.

So only the work of the servers is measured, in an order that does not depend on the load of the
machine. The sockets are real, so no part of the server has to be simulated.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import trio

from ._steps import CountingLoop, StepCounter, TrioSteps

Serve = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""Serves until the awaitable ends."""


class _Driver:
    """Resumes a script."""

    def __init__(self, script: Generator[None, None, None], finish: Callable[[], object]) -> None:
        self._script = script
        self._finish = finish
        self._running = True
        self.error: Exception | None = None

    def resume(self) -> None:
        if not self._running:
            return
        try:
            next(self._script)
        except StopIteration:
            self._stop()
        except Exception as exc:  # noqa: BLE001 - trio would only log it; `run` raises it
            self.error = exc
            self._stop()

    def _stop(self) -> None:
        self._running = False
        self._finish()


def run(
    backend: str,
    script: Generator[None, None, None],
    servers: list[Serve],
    counter: StepCounter | None = None,
) -> None:
    """Run the servers on an event loop until the script ends."""
    runner = _run_trio if backend == "trio" else _run_asyncio
    driver = runner(script, servers, counter)
    if driver.error is not None:
        raise driver.error


class _TrioIdle(trio.abc.Instrument):
    def __init__(self, resume: Callable[[], None]) -> None:
        self._resume = resume

    def before_io_wait(self, timeout: float) -> None:
        if timeout > 0:
            self._resume()


def _run_trio(
    script: Generator[None, None, None], servers: list[Serve], counter: StepCounter | None
) -> _Driver:
    async def main() -> _Driver:
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()
        driver = _Driver(script, lambda: token.run_sync_soon(done.set))
        async with trio.open_nursery() as nursery:
            for serve in servers:
                nursery.start_soon(serve, done.wait)
            trio.lowlevel.add_instrument(_TrioIdle(driver.resume))
        return driver

    return trio.run(main, instruments=[TrioSteps(counter)] if counter else [])


class _IdleSelector(selectors.DefaultSelector):
    resume: Callable[[], None] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.resume is not None and (timeout is None or timeout > 0):
            self.resume()
        return super().select(timeout)


def _run_asyncio(
    script: Generator[None, None, None], servers: list[Serve], counter: StepCounter | None
) -> _Driver:
    selector = _IdleSelector()

    def new_loop() -> asyncio.AbstractEventLoop:
        if counter is None:
            return asyncio.SelectorEventLoop(selector)
        return CountingLoop(counter, selector)

    async def main() -> _Driver:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        driver = _Driver(script, lambda: loop.call_soon_threadsafe(done.set))

        async def wait() -> Any:
            await done.wait()

        async with asyncio.TaskGroup() as group:
            for serve in servers:
                group.create_task(_awaited(serve(wait)))
            selector.resume = driver.resume
        return driver

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable
