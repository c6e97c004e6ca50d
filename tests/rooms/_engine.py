"""An engine that the test controls, and shared rooms over it."""

from contextlib import asynccontextmanager
from typing import Any

import anyio

from wsnursery.rooms import (
    Carried,
    EngineState,
    EngineStatistics,
    Outgoing,
    Position,
    SharedRooms,
    Snapshot,
)


class ScriptedEngine:
    """Records the calls; the test answers them."""

    def __init__(self):
        self.state: EngineState = "connecting"
        self.calls: list[Any] = []
        self.outgoing: list[Outgoing] = []
        self.failure: Any = None
        self._fails = anyio.Event()

    def statistics(self):
        return EngineStatistics()

    async def run(self, sink: Any) -> None:
        self.sink = sink
        await self._fails.wait()
        if self.failure is not None:
            raise self.failure

    def fail(self, failure):
        self.failure = failure
        self._fails.set()

    def publish(self, outgoing):
        self.outgoing.append(outgoing)
        return True

    def enter(self, room, position):
        self.calls.append(("enter", room, position))

    def leave(self, room):
        self.calls.append(("leave", room))

    def announce(self, room, person, metadata):
        self.calls.append(("announce", room, metadata))

    def retract(self, room, person):
        self.calls.append(("retract", room))

    # called by the test

    def become(self, state):
        self.state = state
        self.sink.state_changed()

    def answer(self, epoch, number, messages="", ends=None, people=None, room="r"):
        """A snapshot, with one message for each letter."""
        carried = [Carried(letter) for letter in messages]
        snapshot = Snapshot(Position(epoch, number), carried, ends or {}, people or {})
        self.sink.synchronize(room, snapshot)

    def push(self, epoch, number, text, room="r"):
        self.sink.deliver(room, Position(epoch, number), Carried(text))

    def taken(self):
        """The calls since the last check."""
        calls, self.calls = self.calls, []
        return calls


@asynccontextmanager
async def scripted(**options: Any):
    """Shared rooms that run over a scripted engine."""
    engine = ScriptedEngine()
    settings: dict[str, Any] = {"history": 10, "linger": 0} | options
    rooms = SharedRooms(engine, **settings)
    async with anyio.create_task_group() as group:
        await group.start(rooms.run)
        await anyio.wait_all_tasks_blocked()
        yield rooms, engine
        group.cancel_scope.cancel()
