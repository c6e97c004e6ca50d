"""Systematic exploration: run a scenario repeatedly, with one interference at every point in turn.

The order is breadth first: the undisturbed run; every single fault and every single action at every
step; every pair; then the same with one decision about order or delay changed, and so on up to the
bound. Nothing is random: the same code gives the same runs.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import anyio

from wsnursery.timeline import Timeline, text

from ._conversation import Scenario
from ._errors import Leak, Livelock
from ._faults import pause
from ._harness import run_once
from ._leaks import CHECKPOINTS_TO_END
from ._plan import (
    SEND_FAULTS,
    TARGET_ACTIONS,
    Action,
    ActionKind,
    CallFault,
    FaultKind,
    Plan,
)
from ._run import Run


class ExplorationFailed(AssertionError):
    """A run of an exploration failed. ``str()`` has the seed and the transcript."""

    def __init__(self, failure: FailedRun) -> None:
        self.failure = failure
        """The run that failed."""
        super().__init__(str(failure))


@dataclass(frozen=True)
class FailedRun:
    """One run that failed."""

    seed: str
    """The seed. ``explore(..., replay=seed)`` reproduces this run."""
    run: int
    """The number of the run, counted from 1."""
    error: BaseException
    """The error that failed the run."""
    transcript: str
    """The transcript of each connection."""
    timelines: list[Timeline] = field(default_factory=list[Timeline])
    """The timeline of each connection, if the application has `Run.recorder` as a hook."""

    def __str__(self) -> str:
        said = (
            f"run {self.run} failed: {_summary(self.error)}\n"
            f"see it again with replay={self.seed!r}\n{self.transcript}"
        )
        return f"{said}\n\n{text(*self.timelines)}" if self.timelines else said


@dataclass
class Report:
    """The result of an exploration."""

    runs: int = 0
    """The number of runs."""
    outcomes: set[int] = field(default_factory=set[int])
    """One hash for each distinct sequence of events."""
    failures: list[FailedRun] = field(default_factory=list[FailedRun])
    """The failed runs, if the exploration continued after failures."""


def explore(
    scenario: Scenario,
    *,
    backends: Sequence[str] | None = None,
    actions: Sequence[ActionKind] = ("cancel", "native", "vanish", "close"),
    faults: Sequence[FaultKind] = ("oserror", "gone", "lost"),
    pairs: bool = True,
    bound: int = 0,
    max_delay: int = 1,
    limit: int | None = None,
    replay: str | None = None,
    keep_going: bool = False,
) -> Report:
    """Run a scenario at every possible point of failure.

    Do not call it inside a running event loop, because every run has its own, on virtual time.

    Args:
        scenario: An async function that takes a :class:`Run`. :func:`conversation` makes one of an
            application. It must do the same every time.
        backends: ``"asyncio"``, ``"trio"`` or both; ``None`` means all that are installed.
        actions: The actions to take at every step: cancel the code (``native``: on asyncio, by
            ``Task.cancel()``), or let the peer leave.
        faults: The faults to inject into every raw call.
        pairs: Whether to combine every fault with a cancellation at every step.
        bound: How many decisions about the order of tasks (trio) and about delays in the server
            may differ from the default in one run. Each of them multiplies the number of runs by
            about a hundred.
        max_delay: The most checkpoints by which a raw call is delayed, if the bound is above 0.
        limit: Stop after this many runs on each backend; ``None`` means no limit.
        replay: The seed of one run, which is then the only run.
        keep_going: Collect the failures in the report instead of raising the first one.

    Raises:
        ExplorationFailed: A run failed. Its ``__cause__`` is the error.
    """
    report = Report()
    if replay is not None:
        backend, _, seed = replay.partition(":")
        _run_plan(
            scenario, backend, Run(Plan.parse(seed), max_delay), report, keep_going=keep_going
        )
        return report
    for backend in backends or anyio.get_available_backends():
        possible: tuple[ActionKind, ...] = tuple(
            # trio has no native cancellation.
            kind
            for kind in actions
            if kind != "native" or backend == "asyncio"
        )
        space = _Space(possible, tuple(faults), pairs=pairs, bound=bound)
        frontier = _Frontier(bound)
        frontier.add(0, iter([Plan()]))
        for plan in itertools.islice(frontier, limit):
            run = Run(plan, max_delay if bound else 0)
            _run_plan(scenario, backend, run, report, keep_going=keep_going)
            space.expand(plan, run, frontier)
    return report


class _Frontier:
    """The remaining plans: first those without a deviation, then those with one, and so on."""

    def __init__(self, bound: int) -> None:
        self._levels: list[deque[Iterator[Plan]]] = [deque() for _ in range(bound + 1)]

    def add(self, level: int, plans: Iterator[Plan]) -> None:
        self._levels[level].append(plans)

    def __iter__(self) -> Iterator[Plan]:
        for level in self._levels:
            while level:
                yield from level.popleft()


@dataclass(frozen=True)
class _Space:
    """Derives further plans from a completed run."""

    actions: tuple[ActionKind, ...]
    faults: tuple[FaultKind, ...]
    pairs: bool
    bound: int

    def expand(self, plan: Plan, run: Run, frontier: _Frontier) -> None:
        if not plan.deviations and plan.action is None:
            frontier.add(0, self._more_trouble(plan, run))
        if len(plan.deviations) < self.bound:
            frontier.add(len(plan.deviations) + 1, _deviations(plan, run.tape.options))

    def _more_trouble(self, plan: Plan, run: Run) -> Iterator[Plan]:
        if plan.fault is None:
            yield from self._single_faults(run)
            yield from self._single_actions(plan, run, self.actions)
        elif self.pairs:
            yield from self._single_actions(plan, run, ("cancel",))

    def _single_faults(self, run: Run) -> Iterator[Plan]:
        for index, (sends, receives) in enumerate(run.calls):
            for kind in self.faults:
                calls = sends if kind in SEND_FAULTS else receives
                for number in range(1, calls + 1):
                    yield Plan(fault=CallFault(kind, number, index))

    def _single_actions(
        self, plan: Plan, run: Run, actions: tuple[ActionKind, ...]
    ) -> Iterator[Plan]:
        for kind in actions:
            if kind in TARGET_ACTIONS:
                windows = [(target.first_step, target.last_step) for target in run.targets]
            else:
                windows = [(0, run.steps)] * len(run.servers)
            for index, (before, last) in enumerate(windows):
                for step in range(before + 1, last + 1):
                    yield replace(plan, action=Action(kind, step, index))


def _deviations(plan: Plan, options: Sequence[int]) -> Iterator[Plan]:
    """Yield the same plan with one more deviation, at a later decision."""
    for at in range(max(plan.deviations, default=-1) + 1, len(options)):
        for choice in range(1, options[at]):
            yield replace(plan, deviations={**plan.deviations, at: choice})


def _run_plan(
    scenario: Scenario, backend: str, run: Run, report: Report, *, keep_going: bool
) -> None:
    report.runs += 1
    error = _outcome(scenario, backend, run)
    transcript = "\n\n".join(str(server.transcript) for server in run.servers)
    report.outcomes.add(hash((tuple(_courses(run)), type(error))))
    if error is not None:
        seed = f"{backend}:{run.plan}"
        failure = FailedRun(seed, report.runs, error, transcript, run.recorder.timelines())
        report.failures.append(failure)
        if not keep_going:
            raise ExplorationFailed(failure) from error


def _courses(run: Run) -> Iterator[tuple[str, ...]]:
    for server in run.servers:
        yield tuple(server.transcript.lines)


def _outcome(scenario: Scenario, backend: str, run: Run) -> BaseException | None:
    """Run the scenario once. Return its error, if there is one."""

    async def main() -> None:
        before = {task.id for task in anyio.get_running_tasks()}
        with anyio.CancelScope() as run.guard:
            await scenario(run)
        if run.exhausted:
            raise Livelock(run.circle)
        # Tasks that are ending may need a few more steps.
        await pause(CHECKPOINTS_TO_END)
        _check(run, [task.name for task in anyio.get_running_tasks() if task.id not in before])

    try:
        run_once(backend, main, run)
    except (Exception, Livelock) as error:  # noqa: BLE001 - any exception fails the run
        return error
    return None


def _check(run: Run, left: Sequence[str | None]) -> None:
    """Check what must hold after every run of any scenario."""
    if left:
        raise Leak(f"tasks were left behind: {', '.join(map(str, left))}")
    for server in run.servers:
        if server.transcript.violations:
            raise AssertionError("; ".join(server.transcript.violations))


def _summary(error: BaseException) -> str:
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name
