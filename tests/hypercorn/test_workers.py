"""The process that watches the others; `tests/servers` has real ones."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from hypercorn.config import Sockets

from wsnursery.hypercorn import Config, DeploymentError
from wsnursery.hypercorn import _workers as _hypercorn_workers
from wsnursery.hypercorn._workers import (
    FIRST_BACKOFF,
    MOST_DEATHS,
    Workers,
    _parent_gone,
    _work,
)
from wsnursery.testing import no_leaks

APP = "module:app"
CONFIG = Config.from_mapping(workers=2, drain_timeout=10, graceful_timeout=3)
NO_SOCKETS = Sockets([], [], [])


class Process:
    """A process that the test controls."""

    def __init__(self, *, target: Any, kwargs: Any) -> None:
        self.target = target
        self.serves = kwargs["serves"]
        self.exitcode: int | None = None
        self.sentinel = self
        self.pid = 0
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
        self.now = 1000.0
        self.pauses: list[float] = []

    def new(self, **options: Any) -> Process:
        self.processes.append(Process(**options))
        self.processes[-1].pid = len(self.processes)
        return self.processes[-1]

    def wait(self, sentinels: list[Any], pause: float | None) -> None:
        """The next event happens, or the pause is over."""
        assert all(getattr(it, "exitcode", None) is None for it in sentinels)
        if pause is None:
            self.steps.pop(0)()
        else:
            self.pauses.append(pause)
            self.now += pause

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

    def serve(self) -> None:
        """Every worker has started up."""
        for process in self.processes:
            process.serves.set()

    def signals(self) -> list[list[str]]:
        return [process.signals for process in self.processes]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    context = SimpleNamespace(
        Process=world.new,
        Semaphore=multiprocessing.Semaphore,
        Event=threading.Event,
        Pipe=multiprocessing.Pipe,
    )
    monkeypatch.setattr(multiprocessing, "get_context", lambda _method: context)
    monkeypatch.setattr(_hypercorn_workers, "wait", world.wait)
    monkeypatch.setattr("wsnursery.hypercorn._workers.threading.Timer", world.make_timer)
    clock = SimpleNamespace(monotonic=lambda: world.now)
    monkeypatch.setattr(_hypercorn_workers, "time", clock)
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
    # The drain, its cancellations, twice Hypercorn's grace period with a check after each, the
    # lifespan, and a margin.
    assert world.timer.seconds == 10 + 1 + 2 * (3 + 1) + 5 + 5
    assert world.timer.done == ["start", "cancel"]


def test_a_second_signal_is_passed_on_too(world: World) -> None:
    twice = [sends(signal.SIGTERM)] * 2
    world.steps = [*twice, world.exits(0, 0), world.exits(1, -signal.SIGTERM)]
    assert run() == 0  # one of them could not receive it yet
    assert world.signals() == [["start", "terminate", "terminate"]] * 2
    assert world.timer.done == ["start", "cancel"]


def test_one_that_has_ended_by_itself_is_replaced(world: World) -> None:
    world.steps = [world.exits(1, 0), sends(signal.SIGTERM), world.exits(0, 0), world.exits(2, 0)]
    assert run() == 0
    assert world.signals() == [["start", "terminate"], ["start"], ["start", "terminate"]]
    assert world.pauses == []


@pytest.mark.parametrize("status", [1, -signal.SIGSEGV, -signal.SIGTERM, -63])
def test_a_worker_that_dies_is_replaced_after_a_pause(
    world: World, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    ends = [world.exits(1, 0), world.exits(2, 0)]
    world.steps = [world.serve, world.exits(0, status), sends(signal.SIGTERM), *ends]
    assert run() == 0
    assert world.signals() == [["start"], ["start", "terminate"], ["start", "terminate"]]
    assert world.pauses == [FIRST_BACKOFF]
    assert "worker 1 has died (" in caplog.text
    assert "another one starts in 0.5 s" in caplog.text


def test_the_pauses_grow_and_shrink_again(world: World) -> None:
    def later() -> None:
        world.now += 100

    deaths = [world.exits(index, -9) for index in (1, 2, 3)]
    rest = [sends(signal.SIGTERM), world.exits(0, 0), world.exits(5, 0)]
    world.steps = [world.serve, *deaths, later, world.exits(4, -9), *rest]
    assert run() == 0
    assert world.pauses == [0.5, 1, 2, 0.5]


def test_deaths_that_follow_one_another_end_the_service(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    deaths = [world.exits(index, -9) for index in range(1, MOST_DEATHS + 1)]
    world.steps = [world.serve, *deaths, world.exits(0, 0)]
    assert run() == 1
    assert world.pauses == [0.5, 1, 2, 4, 8]
    assert world.signals()[0] == ["start", "terminate"]
    assert "has died (SIGKILL), the 6th in a row: the service ends" in caplog.text


def test_an_application_that_cannot_start_ends_the_service(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.steps = [world.exits(0, 1), world.exits(1, 1)]
    assert run() == 1
    assert world.signals() == [["start"], ["start", "terminate"]]
    assert "worker 1 cannot start: the service ends" in caplog.text


def test_a_signal_ends_a_pause(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(sentinels: list[Any], pause: float | None) -> None:
        if pause is None:
            world.steps.pop(0)()
        else:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(_hypercorn_workers, "wait", waits)
    world.steps = [world.serve, world.exits(0, -9), world.exits(1, 0)]
    assert run() == 0
    assert world.signals() == [["start"], ["start", "terminate"]]


def test_one_that_does_not_end_is_killed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def too_late() -> None:
        world.timer.action()
        world.exits(0, -signal.SIGKILL)()
        world.exits(1, -signal.SIGKILL)()

    world.steps = [sends(signal.SIGTERM), too_late]
    assert run() == 1
    assert [done[:3] for done in world.signals()] == [["start", "terminate", "kill"]] * 2
    assert "killed worker 1, which did not end" in caplog.text


def test_what_a_worker_does(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[Any] = []

    def serve_process(*arguments: Any, factory: bool, report: Any) -> None:
        served.append((*arguments, factory))
        report(["http://127.0.0.1:8000"])
        if len(served) > 1:
            raise DeploymentError("the application is missing")

    monkeypatch.setattr(_hypercorn_workers, "serve_process", serve_process)
    first = multiprocessing.Semaphore(1)
    for status in (0, 1, 1):
        serves: Any = threading.Event()
        with pytest.raises(SystemExit) as caught:
            _work(APP, CONFIG, NO_SOCKETS, first, serves=serves, factory=True)
        assert caught.value.code == status
        assert serves.is_set()
    assert served == [(APP, CONFIG, NO_SOCKETS, _parent_gone, True)] * 3
    # All workers fail for the same reason, which is reported once.
    assert capsys.readouterr().err == "the application is missing\n"


def test_what_the_application_raises_is_written_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve_process(*arguments: Any, **options: Any) -> None:
        raise LookupError("no database")

    monkeypatch.setattr(_hypercorn_workers, "serve_process", serve_process)
    first = multiprocessing.Semaphore(1)
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            _work(APP, CONFIG, NO_SOCKETS, first, serves=multiprocessing.Event())
        assert caught.value.code == 1
    assert capsys.readouterr().err.count("LookupError: no database") == 1


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
