"""The process that watches the others; `tests/servers` has real ones."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from hypercorn.config import Sockets

from wsnursery.hypercorn import _workers as _hypercorn_workers
from wsnursery.hypercorn._config import Config, DeploymentError
from wsnursery.hypercorn._workers import Workers, _parent_gone, _work
from wsnursery.testing import no_leaks

APP = "module:app"
CONFIG = Config.from_mapping(workers=2, drain_timeout=10, graceful_timeout=3)
NO_SOCKETS = Sockets([], [], [])


class Process:
    """A process that does what the test says."""

    def __init__(self, *, target: Any) -> None:
        self.target = target
        self.exitcode: int | None = None
        self.sentinel = self
        self.signals: list[str] = []

    def start(self) -> None:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # inherited
        self.signals.append("start")

    def terminate(self) -> None:
        self.signals.append("terminate")

    def kill(self) -> None:
        self.signals.append("kill")


class World:
    """All processes, the clock and the events of one test."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.steps: list[Callable[[], None]] = []
        self.timer = SimpleNamespace(seconds=0.0, action=lambda: None, done=list[str]())

    def new(self, **options: Any) -> Process:
        self.processes.append(Process(**options))
        return self.processes[-1]

    def wait(self, sentinels: list[Process]) -> None:
        """The next thing happens."""
        assert all(process.exitcode is None for process in sentinels)
        self.steps.pop(0)()

    def make_timer(self, seconds: float, action: Callable[[], None]) -> Any:
        timer = self.timer
        timer.seconds, timer.action = seconds, action
        timer.start = lambda: timer.done.append("start")
        timer.cancel = lambda: timer.done.append("cancel")
        return timer

    def exits(self, index: int, status: int) -> Callable[[], None]:
        def step() -> None:
            self.processes[index].exitcode = status

        return step

    def signals(self) -> list[list[str]]:
        return [process.signals for process in self.processes]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    context = SimpleNamespace(Process=world.new, Semaphore=multiprocessing.Semaphore)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _method: context)
    monkeypatch.setattr(_hypercorn_workers, "wait", world.wait)
    monkeypatch.setattr("wsnursery.hypercorn._workers.threading.Timer", world.make_timer)
    return world


def run() -> int:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    status = Workers(APP, CONFIG, NO_SOCKETS).run()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    return status


def sends(number: signal.Signals) -> Callable[[], None]:
    return lambda: signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on(world: World, number: signal.Signals) -> None:
    world.steps = [sends(number), world.exits(0, 0), world.exits(1, 0)]
    assert run() == 0
    assert world.signals() == [["start", "terminate"]] * 2
    # The drain, Hypercorn's grace twice, what is late, and something to spare.
    assert world.timer.seconds == 10 + 2 * 3 + 1 + 5
    assert world.timer.done == ["start", "cancel"]


def test_a_second_signal_is_passed_on_too(world: World) -> None:
    twice = [sends(signal.SIGTERM)] * 2
    world.steps = [*twice, world.exits(0, 0), world.exits(1, -signal.SIGTERM)]
    assert run() == 0  # one of them had not got as far as to hear it
    assert world.signals() == [["start", "terminate", "terminate"]] * 2
    assert world.timer.done == ["start", "cancel"]


def test_one_that_has_ended_by_itself_is_replaced(world: World) -> None:
    world.steps = [world.exits(1, 0), sends(signal.SIGTERM), world.exits(0, 0), world.exits(2, 0)]
    assert run() == 0
    assert world.signals() == [["start", "terminate"], ["start"], ["start", "terminate"]]


@pytest.mark.parametrize("status", [1, -signal.SIGSEGV, -signal.SIGTERM])
def test_one_that_fails_takes_the_others_with_it(world: World, status: int) -> None:
    world.steps = [world.exits(0, status), world.exits(1, 0)]
    assert run() == 1
    assert world.signals() == [["start"], ["start", "terminate"]]


def test_one_that_does_not_end_is_killed(world: World) -> None:
    def too_late() -> None:
        world.timer.action()
        world.exits(0, -signal.SIGKILL)()
        world.exits(1, -signal.SIGKILL)()

    world.steps = [sends(signal.SIGTERM), too_late]
    assert run() == 1
    assert [done[:3] for done in world.signals()] == [["start", "terminate", "kill"]] * 2


def test_what_a_worker_does(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[Any] = []

    def serve_process(*arguments: Any) -> None:
        served.append(arguments)
        if len(served) > 1:
            raise DeploymentError("the application is missing")

    monkeypatch.setattr(_hypercorn_workers, "serve_process", serve_process)
    first = multiprocessing.Semaphore(1)
    for status in (0, 1, 1):
        with pytest.raises(SystemExit) as caught:
            _work(APP, CONFIG, NO_SOCKETS, first)
        assert caught.value.code == status
    assert served == [(APP, CONFIG, NO_SOCKETS, _parent_gone)] * 3
    # They all stumble over the same thing: it is said once.
    assert capsys.readouterr().err == "the application is missing\n"


async def test_it_notices_that_the_parent_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    sentinel, parents_end = os.pipe()
    os.close(parents_end)
    try:
        parent = SimpleNamespace(sentinel=sentinel)
        monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
        async with no_leaks():
            with anyio.fail_after(1):
                await _parent_gone()
    finally:
        os.close(sentinel)
