"""`MemoryEngine`: the engine of one process, for one worker and for tests."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, final

import anyio

from wsnursery._backend.backend import current_backend
from wsnursery._engine.payload import size_of
from wsnursery._errors import LocalProtocolError

from ._engine import (
    Carried,
    EngineState,
    EngineStatistics,
    Outgoing,
    Sink,
    Snapshot,
    too_big,
)
from ._hold import Held, Hold
from ._position import Position

HOLD_MESSAGES = 10_000
"""The most messages that are held before ``run``."""

HOLD_BYTES = 8 * 1024 * 1024
"""The same bound in bytes."""

HOLD_SECONDS = 30.0
"""Seconds for which a message is held, counted while ``run`` is running."""


class StoredRoom:
    """The stored state of a room."""

    def __init__(self) -> None:
        self.position = Position(secrets.token_hex(8), 0)
        self.messages: deque[Carried] = deque()
        self.bytes = 0
        self.people: dict[str, tuple[MemoryEngine, Any]] = {}
        self.used = 0.0
        """When a message was last published to it, or an engine last left it."""

    def append(self, outgoing: Outgoing, history: int, history_bytes: int) -> Carried:
        """Number a message and keep it."""
        self.position = Position(self.position.epoch, self.position.number + 1)
        carried = Carried(outgoing.message, outgoing.key)
        self.messages.append(carried)
        self.bytes += size_of(carried.message)
        while len(self.messages) > history or self.bytes > history_bytes:
            self.bytes -= size_of(self.messages.popleft().message)
        return carried

    def snapshot(self, after: Position | None) -> Snapshot:
        """Return the state of the room, for a worker that has the messages up to a position."""
        messages = list(self.messages)
        if after is not None and after.epoch == self.position.epoch:
            following = self.position.number - after.number
            messages = messages[max(0, len(messages) - following) :]
        people = {person: metadata for person, (_, metadata) in self.people.items()}
        return Snapshot(self.position, messages, {}, people)


class Store:
    """The rooms of all engines that share them, and the events that are not delivered yet.

    Args:
        history_ttl: Seconds for which a room is kept while no engine follows it.
    """

    def __init__(self, history_ttl: float) -> None:
        self.rooms: dict[str, StoredRoom] = {}
        """The rooms by name, the least recently used first."""
        self.engines: list[MemoryEngine] = []
        self._history_ttl = history_ttl
        self._events: deque[tuple[str, Callable[[Sink], None]]] = deque()
        self._notifying = False

    def use(self, name: str, now: float) -> StoredRoom:
        """Return the room of a name, made if there is none. Forget rooms that are too old."""
        # Insert the room again at the end, so that the dictionary stays in the order of the last
        # use.
        room = self.rooms.pop(name, None) or StoredRoom()
        self.rooms[name] = room
        room.used = now
        while (oldest := next(iter(self.rooms))) != name:
            if now - self.rooms[oldest].used < self._history_ttl:
                break
            old = self.rooms.pop(oldest)
            # A room that an engine follows is in use, even if no message was published for a long
            # time.
            if any(engine.follows(oldest) for engine in self.engines):
                self.rooms[oldest] = old
                old.used = now
        return room

    def notify(self, name: str, event: Callable[[Sink], None]) -> None:
        """Notify all engines that follow a room.

        A sink may publish while it is notified. The other sinks must still get the first event
        first.
        """
        self._events.append((name, event))
        if self._notifying:
            return
        self._notifying = True
        try:
            while self._events:
                name, event = self._events.popleft()
                for engine in tuple(self.engines):
                    engine.receive(name, event)
        finally:
            self._notifying = False


@final
class MemoryEngine:
    """An engine for `SharedRooms` that needs no server, for one worker and for tests.

    Its rooms end with the process.

    Args:
        shared_with: Another engine of this event loop with which it shares its rooms. The two are
            then like the engines of two workers. For tests.
        history_ttl: Seconds for which the history and the numbers of a room are kept while no
            worker follows the room.
        max_message: The largest message that it carries, in bytes.
    """

    def __init__(
        self,
        shared_with: MemoryEngine | None = None,
        *,
        history_ttl: float = 3600.0,
        max_message: int = 1024 * 1024,
    ) -> None:
        self._store: Store = Store(history_ttl) if shared_with is None else shared_with._store
        self._max_message = max_message
        self._hold = Hold(HOLD_MESSAGES, HOLD_BYTES, HOLD_SECONDS)
        self._sink: Sink | None = None
        self._now: Callable[[], float] | None = None
        self._sessions = 0
        self._rooms: set[str] = set()

    @property
    def state(self) -> EngineState:
        """The state, which depends on whether ``run`` is running."""
        if self._sink is not None:
            return "live"
        return "away" if self._sessions else "connecting"

    def statistics(self) -> EngineStatistics:
        """A snapshot of its counters."""
        hold = self._hold
        return EngineStatistics(self._sessions, len(hold), hold.bytes, hold.refused, 0.0)

    async def run(self, sink: Sink) -> None:
        """Carry messages until cancelled. A checkpoint."""
        if self._sink is not None:
            raise LocalProtocolError(
                "this engine is running already: make one for each SharedRooms, with shared_with="
            )
        self._sink, self._now = sink, current_backend().now
        self._sessions += 1
        self._store.engines.append(self)
        try:
            sink.connected()
            sink.state_changed()
            while (held := self._hold.take()) is not None:
                self._number(held, sink)
            await anyio.sleep_forever()
        finally:
            self._sink = None  # no more calls to its own sink, so that it is not notified of this
            for name in tuple(self._rooms):
                self.leave(name)
            self._store.engines.remove(self)
            sink.state_changed()

    def publish(self, outgoing: Outgoing) -> bool:
        """Number a message, or hold it until ``run``."""
        size = size_of(outgoing.message)
        if size > self._max_message:
            raise too_big(size, self._max_message)
        if not self._hold.put(outgoing):
            return False
        if self._sink is not None and (held := self._hold.take()) is not None:
            self._number(held, self._sink)
        return True

    def _number(self, held: Held, sink: Sink) -> None:
        name = held.outgoing.room
        room = self._use(name)
        carried = room.append(held.outgoing, sink.history, sink.history_bytes)
        position = room.position
        self._store.notify(name, lambda sink: sink.deliver(name, position, carried))
        self._hold.settle(held, position)

    def _use(self, name: str) -> StoredRoom:
        assert self._now is not None, "it is called only while the engine runs"
        return self._store.use(name, self._now())

    def enter(self, room: str, position: Position | None) -> None:
        """Follow a room."""
        if self._sink is not None:
            self._rooms.add(room)
            self._sink.synchronize(room, self._use(room).snapshot(position))

    def leave(self, room: str) -> None:
        """No longer follow a room."""
        if room in self._rooms:
            people = self._use(room).people
            for person in [person for person, (engine, _) in people.items() if engine is self]:
                self.retract(room, person)
            self._rooms.remove(room)

    def announce(self, room: str, person: str, metadata: Any) -> None:
        """Announce a person."""
        if self._sink is not None:
            self._use(room).people[person] = self, metadata
            self._store.notify(room, lambda sink: sink.people_joined(room, {person: metadata}))

    def retract(self, room: str, person: str) -> None:
        """Retract a person."""
        if room in self._rooms and self._use(room).people.pop(person, None) is not None:
            self._store.notify(room, lambda sink: sink.people_left(room, [person]))

    # ------------------------------------------------------------------------ calls of the store

    def follows(self, room: str) -> bool:
        """Return whether this engine follows a room."""
        return room in self._rooms

    def receive(self, room: str, event: Callable[[Sink], None]) -> None:
        """Pass an event to the sink, if this engine follows the room."""
        if self._sink is not None and room in self._rooms:
            event(self._sink)
