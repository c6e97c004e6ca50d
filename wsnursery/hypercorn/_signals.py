"""SIGINT and SIGTERM of a server process, which ends in time even if its handlers do not."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn, Self

from wsnursery._backend.running import running_on_trio
from wsnursery._backend.where import describe_place

from ._logs import logger

HURRY_SECONDS = 3.0
"""Seconds from the second signal until the process is ended, if it has not ended by itself."""

SPARE_SECONDS = 2.0
"""Seconds after the bound until the process is ended, if its event loop does not end it."""


class ProcessSignals:
    """Handles the signals of this process: the first one stops it, the second one ends the wait.

    It uses Python's signal handlers, not those of the event loop, because code of the application
    may block the loop. A thread ends the process when its time is over, and a third signal ends it
    at once. A signal that the process was started to ignore (a background job of a shell) stays
    ignored.

    Args:
        bound: Seconds from the first signal to the end.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._count = 0
        self._ask: Callable[[], object] | None = None
        self._timer = threading.Timer(0, abandon)
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def attach(self, ask: Callable[[], object]) -> None:
        """Set what a signal does. It is called in the event loop that runs now."""
        if running_on_trio():
            import trio

            # The signal handler runs between two bytecodes of any code, so the event loop must make
            # the call.
            token = trio.lowlevel.current_trio_token()
            self._ask = lambda: token.run_sync_soon(ask)
        else:
            loop = asyncio.get_running_loop()
            self._ask = lambda: loop.call_soon_threadsafe(ask)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._ask is None:
            raise KeyboardInterrupt  # the server has not started yet
        if self._count > 2:
            abandon()
        seconds = self._bound + SPARE_SECONDS if self._count == 1 else HURRY_SECONDS
        self._timer.cancel()
        self._timer = threading.Timer(seconds, self._too_late)
        # A daemon thread does not keep the process alive when everything has ended in time.
        self._timer.daemon = True
        self._timer.start()
        self._ask()

    def _too_late(self) -> NoReturn:
        logger.error("the event loop does not end: it stands %s", describe_place(main_frames()))
        abandon()


def main_frames() -> Iterator[FrameType]:
    """The frames of the main thread, outermost first."""
    frames: list[FrameType] = []
    every = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # the one way to them
    frame = every.get(threading.main_thread().ident or 0)
    while frame is not None:
        frames.insert(0, frame)
        frame = frame.f_back
    return iter(frames)


def abandon() -> NoReturn:
    """End the process now, without the clean-up of tasks that do not end."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
