"""`FollowedRooms`: the shared rooms that this worker follows, and the engine's reports on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import anyio

from ._engine import Carried, Engine, Snapshot
from ._fanout import Fanout, check_history
from ._position import Position, Stamp
from ._shared_room import SharedRoom


class FollowedRooms:
    """Rooms by name, from the first member or watcher until some time after the last one.

    It is the `Sink` of the engine. Reports on rooms that are not followed here are ignored.

    Args:
        engine: The engine that carries the rooms.
        history: Messages of each room that the engine and this worker keep.
        history_bytes: The same limit in bytes.
        stamp: As for `wsnursery.Room`.
        linger: Seconds for which a room without members here is still followed.

    Raises:
        ValueError: A limit is negative.
    """

    def __init__(
        self,
        engine: Engine,
        history: int,
        history_bytes: int,
        stamp: Stamp | None,
        linger: float,
    ) -> None:
        if linger < 0:
            raise ValueError(f"linger must be 0 or more seconds, got {linger}")
        check_history(history, history_bytes)
        self._engine = engine
        self._stamp = stamp
        self._linger = linger
        self._rooms: dict[str, SharedRoom] = {}
        self._unneeded: dict[str, float] = {}
        """When to forget each room that is no longer needed, the earliest first."""
        self._became_unneeded = anyio.Event()
        self._is_letting_go = False
        self._became_live = anyio.Event()
        self.history: int = history
        """See `Sink.history`."""
        self.history_bytes: int = history_bytes
        """See `Sink.history_bytes`."""
        self.resyncs: int = 0
        """The number of snapshots that were received."""
        self.gaps: int = 0
        """The number of known gaps: times that a room has lost messages on the way to this
        worker."""

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[SharedRoom]:
        return iter(self._rooms.values())

    def get(self, name: str) -> SharedRoom | None:
        """Return the room of a name, if it is followed."""
        return self._rooms.get(name)

    # ------------------------------------------------------------------------------- following

    def follow(self, name: str) -> SharedRoom:
        """Follow a room that is not followed yet."""
        fanout = Fanout(name, "", self.history, self.history_bytes, self._stamp)
        room = self._rooms[name] = SharedRoom(self._engine, fanout, self._note_gap)
        room.ask()
        return room

    def _note_gap(self) -> None:
        self.gaps += 1

    def let_go_if_unneeded(self, room: SharedRoom) -> None:
        """A member or a watcher has left: stop following the room, now or after `linger`."""
        if room.is_needed:
            return
        if self._is_letting_go and self._linger:
            self._unneeded.pop(room.name, None)
            self._unneeded[room.name] = anyio.current_time() + self._linger
            self._became_unneeded.set()
        else:
            self._forget(room.name)

    def _forget(self, name: str) -> None:
        # The room may still have a time from an earlier run, in which it lingered.
        self._unneeded.pop(name, None)
        del self._rooms[name]
        self._engine.leave(name)

    async def let_go(self) -> None:
        """Forget rooms that have not been needed for `linger` seconds. Runs until cancelled."""
        self._is_letting_go = True
        try:
            while True:
                if not self._unneeded:
                    self._became_unneeded = anyio.Event()
                    await self._became_unneeded.wait()
                name, due = next(iter(self._unneeded.items()))
                await anyio.sleep_until(due)
                if self._unneeded.get(name) == due:
                    del self._unneeded[name]
                    if not self._rooms[name].is_needed:
                        self._forget(name)
        finally:
            self._is_letting_go = False

    def lose(self) -> None:
        """The engine is away: no room is synchronized."""
        for room in self._rooms.values():
            room.lose()

    async def until_live(self) -> None:
        """Wait until the engine is live."""
        while self._engine.state != "live":
            await self._became_live.wait()

    # ---------------------------------------------------------------------- calls of the engine

    def connected(self) -> None:
        """As `Sink.connected`: synchronize everything."""
        for room in tuple(self._rooms.values()):
            room.ask()

    def state_changed(self) -> None:
        """As `Sink.state_changed`."""
        if self._engine.state == "live":
            self._became_live.set()
            self._became_live = anyio.Event()
        else:
            self.lose()

    def synchronize(self, room: str, snapshot: Snapshot) -> None:
        """As `Sink.synchronize`."""
        if room in self._rooms:
            self.resyncs += 1
            self._rooms[room].synchronize(snapshot)

    def deliver(self, room: str, position: Position, carried: Carried) -> None:
        """As `Sink.deliver`."""
        followed = self._rooms.get(room)
        if followed is not None:
            followed.deliver(position, carried)

    def people_joined(self, room: str, people: Mapping[str, Any]) -> None:
        """As `Sink.people_joined`."""
        if room in self._rooms:
            self._rooms[room].people_joined(people)

    def people_left(self, room: str, ids: Sequence[str]) -> None:
        """As `Sink.people_left`."""
        if room in self._rooms:
            self._rooms[room].people_left(ids)
