"""What is known of the run of one random program."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import anyio

from tests.explore.programs import Program
from wsnursery import WebSocket, testing


@dataclass
class Run:
    """What is known of a run while it lasts, and afterwards."""

    program: Program
    backend: str
    server: testing.Server
    ws: WebSocket = field(init=False)
    sent: int = 0
    cancelled: bool = False
    """Code outside of the block has cancelled the handler."""
    native: int = 0
    """How often its task was cancelled natively."""
    interrupted: bool = False
    left_with: BaseException | None = None
    left_at: float | None = None
    handler: Any = None
    """The handler's asyncio task."""
    outer: anyio.CancelScope | None = None
    strange: list[BaseException] = field(default_factory=list)
    """The exceptions of calls of other tasks."""
    waiting: int = 0
    """Calls of other tasks that have not ended."""
    counted: int | None = None
    """How many requests to cancel the handler asyncio counts after the block."""
    native_in_body: int = 0
    """How often it was cancelled natively before the body of the block had ended."""
    body_cancelled: bool = False
    """The body has ended with a cancellation."""
    left_behind: int = 0
    """How many requests an `asyncio.TaskGroup` has made and not taken back."""
    asked_anew: int = 0
    """How many times such a group has cancelled a task that was being cancelled."""
    strays: int = 0
    """How many requests of such a group have reached a task after they were taken back."""
    scopes_let_out: int = 0
    """How many of the program's scopes have let their own cancellation out."""
    timeouts_let_out: int = 0
    """The same of its `asyncio.timeout`."""
    handed_over: int = 0
    """How many a scope of the program has taken back that another task had asked for."""

    gathered: WeakSet[Any] = field(default_factory=WeakSet)
    """The tasks that `asyncio.gather` has started, and those that they have started. It does not
    wait for the others when one fails, so they may outlive the block."""

    def note_left_behind(self) -> None:
        """A group of asyncio's has left a request behind in the running task."""
        self.left_behind += asyncio.current_task() is self.handler

    def note_asked_anew(self) -> None:
        """A group of asyncio's has cancelled the running task anew."""
        self.asked_anew += 1

    def note_stray(self) -> None:
        """A request that a group of asyncio's has taken back is going to reach the running task."""
        self.strays += 1

    def note_handed_over(self, scope: Any, requests: int) -> None:
        """A scope has got requests from another task's scope."""
        if scope._host_task is not self.handler:
            return
        own: anyio.CancelScope | None = None
        with suppress(anyio.ClosedResourceError):
            own = self.ws.cancel_scope
        # What the connection's own group gets is its own fault, and no limit of anyio's.
        self.handed_over += 0 if scope is own else requests
