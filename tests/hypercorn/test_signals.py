"""The signals of a server process, and its forced end."""

import logging
import os
import signal
import threading
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from wsnursery.hypercorn._signals import HURRY_SECONDS, SPARE_SECONDS, ProcessSignals, abandon


class Abandoned(BaseException):
    """The process would have ended."""


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The threads that would end the process."""
    made: list[Any] = []

    def timer(seconds: float, action: Any) -> Any:
        made.append(SimpleNamespace(seconds=seconds, action=action, done=[]))
        made[-1].start = lambda: made[-1].done.append("start")
        made[-1].cancel = lambda: None
        return made[-1]

    def gone(status: int) -> None:
        assert status == 1
        raise Abandoned

    monkeypatch.setattr(threading, "Timer", timer)
    monkeypatch.setattr(os, "_exit", gone)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    return made


async def test_the_first_asks_the_second_hurries_and_the_third_ends(timers: list[Any]) -> None:
    asked: list[float] = []
    with ProcessSignals(20) as signals:
        signals.attach(lambda: asked.append(anyio.current_time()))
        for count, seconds in enumerate((20 + SPARE_SECONDS, HURRY_SECONDS), 1):
            signal.raise_signal(signal.SIGTERM)
            await anyio.sleep(0.1)
            assert len(asked) == count
            assert timers[-1].seconds == seconds
            assert timers[-1].done == ["start"]
        with pytest.raises(Abandoned):
            signal.raise_signal(signal.SIGINT)


async def test_a_loop_that_stands_still_is_named(
    timers: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with ProcessSignals(20) as signals:
        signals.attach(lambda: None)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Abandoned):
            timers[-1].action()
    assert "the event loop does not end: it stands in " in caplog.text
    assert "test_signals.py:" in caplog.text


def test_before_there_is_anything_to_stop_it_is_an_interrupt() -> None:
    with ProcessSignals(20), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ProcessSignals(20):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_there_are_none() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found: list[Any] = []

    def enter() -> None:
        with ProcessSignals(20):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]


def test_abandoning_ends_the_process(timers: list[Any]) -> None:
    with pytest.raises(Abandoned):
        abandon()
