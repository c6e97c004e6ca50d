"""`Run`: the connections and targets of a scenario in one run, with the interference."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from wsnursery.timeline import Recorder

from ._errors import Livelock
from ._faults import Fault, pause
from ._livelock import SAMPLE, Sample, livelock_text
from ._peer import Peer
from ._plan import RECEIVE_FAULTS, SEND_FAULTS, TARGET_ACTIONS, FaultKind, Plan, Tape
from ._server import Server
from ._target import Target

MAX_STEPS = 20_000  # a run of a few messages takes a few hundred
MAX_CALLS_IN_A_STEP = 2_000  # raw calls while no other task runs


class InjectedError(OSError):
    """The ``OSError`` that an exploration injects."""


class InjectedBug(Exception):
    """The exception that an exploration injects as a bug of the server: not an ``OSError``."""


class Run:
    """One run of a scenario under exploration. Made by :func:`explore`.

    A scenario gets its connections from it, and marks the code under test. The exploration
    interferes with both.
    """

    def __init__(self, plan: Plan, max_delay: int) -> None:
        self.plan = plan
        """The plan of this run."""
        self.recorder: Recorder = Recorder()
        """A hook for the application under test: ``Options(hooks=[run.recorder])``. If the run
        fails, the failure includes its timelines."""
        self.servers: list[Server] = []
        """The connections, in the order of creation."""
        self.injected: BaseException | None = None
        """The exception that was injected into a raw call, if there was one."""
        self.interfered: bool = False
        """Whether the plan's action or fault has taken place."""
        self.tape: Tape = Tape(plan.deviations)
        self.steps: int = 0
        """The number of steps while a target was open."""
        self.calls: list[tuple[int, int]] = []
        """The number of raw sends and raw receives of each connection."""
        self.targets: list[Target] = []
        """The targets, in the order of their start."""
        self.guard: anyio.CancelScope | None = None
        """The scope around everything, which ends a run that takes far too many steps."""
        self.circle: str = ""
        """The error message for a run that has taken far too many steps."""
        self._all_steps = 0
        self._max_delay = max_delay
        self._open = 0
        self._calls_in_step = 0
        self._sample = Sample()

    @property
    def quiet(self) -> bool:
        """Whether this run has no fault and no action. Then everything must work."""
        return self.plan.quiet

    @property
    def exhausted(self) -> bool:
        """Whether the run was cancelled because it took far too many steps."""
        return self._all_steps >= MAX_STEPS

    def server(self, *, faults: Iterable[Fault] = (), **arguments: Any) -> Server:
        """Make a connection that the exploration controls, with the arguments of Server."""
        return self.adopt(Server(**arguments, faults=[*faults, self.fault()]))

    def fault(self) -> Fault:
        """Make the fault for a server that is passed to :meth:`adopt`."""
        self.calls.append((0, 0))
        return _Explored(self, len(self.calls) - 1)

    def adopt(self, server: Server) -> Server:
        """Let the exploration control a server that was made with :meth:`fault`."""
        self.servers.append(server)
        return server

    @asynccontextmanager
    async def target(self) -> AsyncGenerator[Target]:
        """Mark the code under test, which the exploration cancels and whose steps it counts."""
        target = Target(self.steps)
        self.targets.append(target)
        self._open += 1
        try:
            async with target.cancellable():
                yield target
        finally:
            self._open -= 1
            target.last_step = self.steps

    # Called by the harness.

    def on_step(self, coroutine: object = None, name: str = "") -> None:
        """Count a step, and take the planned action at its step."""
        self._all_steps += 1
        self._calls_in_step = 0
        # Only the last steps are sampled: they show which task loops.
        if self._all_steps > MAX_STEPS - SAMPLE and coroutine is not None:
            self._sample.note(coroutine, name)
        if self._all_steps == MAX_STEPS and self.guard is not None:
            self.circle = livelock_text(
                f"the run did not end within {MAX_STEPS} steps", self._sample
            )
            self.guard.cancel()
        if self._open:
            self.steps += 1
            action = self.plan.action
            if action is not None and self.steps == action.step:
                self._act(action.kind, action.index)

    def first(self, runnable: int) -> int:
        """Return which task runs first."""
        return self.tape.choose(runnable) if self._open else 0

    def check(self) -> None:
        """Stop a run that has not ended after its cancellation."""
        if self._all_steps > 2 * MAX_STEPS:
            raise Livelock(f"the run did not end within {self._all_steps} steps")

    # Called by the fault.

    def count_call(self) -> None:
        """Stop a loop of raw calls that never lets another task run."""
        self._calls_in_step += 1
        if self._calls_in_step > MAX_CALLS_IN_A_STEP:
            raise Livelock(f"{self._calls_in_step} raw calls and no other task could run")

    def inject(self, error: BaseException) -> BaseException:
        """Remember the exception that a raw call is going to raise."""
        self.injected = error
        return error

    def _act(self, kind: str, index: int) -> None:
        if index >= len(self.targets if kind in TARGET_ACTIONS else self.servers):
            return  # it does not exist yet
        self.interfered = True
        if kind == "cancel":
            self.targets[index].cancel()
        elif kind == "native":
            self.targets[index].cancel_natively()
        elif kind == "vanish":
            self.servers[index].peer.vanish()
        else:
            self.servers[index].peer.close()

    def delay(self) -> int:
        """Return the number of extra checkpoints for the current raw call."""
        return self.tape.choose(self._max_delay + 1) if self._max_delay else 0


class _Explored(Fault):
    """Counts and delays the raw calls of one connection, and lets the planned call fail."""

    def __init__(self, run: Run, index: int) -> None:
        self._run = run
        self._index = index

    async def on_send(self, peer: Peer, number: int, event: Mapping[str, Any]) -> None:
        self._run.calls[self._index] = (number, self._run.calls[self._index][1])
        kind = await self._begin(SEND_FAULTS, number)
        if kind == "gone":
            peer.vanish()
        if kind in {"oserror", "gone"}:
            raise self._run.inject(InjectedError("injected"))
        if kind == "error":
            raise self._run.inject(InjectedBug("injected"))
        if kind == "stall":
            await peer.wait_gone()

    async def on_receive(self, peer: Peer, number: int) -> Mapping[str, Any] | None:
        self._run.calls[self._index] = (self._run.calls[self._index][0], number)
        kind = await self._begin(RECEIVE_FAULTS, number)
        if kind == "lost":
            peer.vanish()
        if kind == "raises":
            raise self._run.inject(InjectedError("injected"))
        return {"type": "websocket.unknown"} if kind == "garbage" else None

    async def _begin(self, kinds: tuple[FaultKind, ...], number: int) -> FaultKind | None:
        """Delay the call, and return the planned kind of fault."""
        self._run.count_call()
        await pause(self._run.delay())
        fault = self._run.plan.fault
        if fault is None or fault.kind not in kinds:
            return None
        if (fault.index, fault.number) != (self._index, number):
            return None
        self._run.interfered = True
        return fault.kind
