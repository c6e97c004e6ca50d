"""The periodic work of a session: renew the lease, probe the connection, keep the rooms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import anyio

from . import _scripts
from ._commands import Commands
from ._connection import ConnectionLost
from ._following import BATCH, Follower
from ._presence import Announcements

LOST_PROBES: Final = 3
"""The number of missing probes after which the session ends. A single one may just be late."""

BEATS_PER_LEASE: Final = 3
"""The number of renewals within one lease."""

RENEWALS_PER_TTL: Final = 3
"""The number of renewals of the followed rooms within their time to live."""


class Upkeep:
    """The timer of a session.

    Args:
        commands: Sends commands to Redis.
        follower: Knows the followed rooms.
        announcements: Know the rooms in which people of this worker are.
        worker: The name of this session.
        lease: The lease, in seconds.
        probe: Seconds between two probes.
        ttl: Seconds for which Redis keeps unused keys.
        now: The clock.
    """

    def __init__(
        self,
        commands: Commands,
        follower: Follower,
        announcements: Announcements,
        *,
        worker: str,
        lease: float,
        probe: float,
        ttl: int,
        now: Callable[[], float],
    ) -> None:
        self._commands = commands
        self._follower = follower
        self._announcements = announcements
        self._worker = worker
        self._lease = lease
        self._probe = probe
        self._ttl = ttl
        self._now = now
        self._probe_sent = self._probe_returned = now()
        self.round_trip: float | None = None
        """The round-trip time of the last probe, in seconds."""

    @property
    def probe_channel(self) -> str:
        """The channel on which the probes return."""
        return self._commands.keys.probe(self._worker)

    def subscribe(self) -> None:
        """Subscribe to the probes. Their time starts now, because logging in may have been slow."""
        self._probe_returned = self._now()
        self._commands.connection.send("SUBSCRIBE", self.probe_channel)

    def note_probe(self) -> None:
        """Note that a probe has returned."""
        self._probe_returned = self._now()
        self.round_trip = self._probe_returned - self._probe_sent

    def beat(self, retired: str = "") -> None:
        """Renew the lease, and end the lease of an earlier session."""
        keys = self._commands.keys
        self._commands.run(
            _scripts.BEAT,
            [keys.workers, keys.rooms_of(self._worker)],
            [self._worker, self._lease, keys.prefix, self._ttl, retired],
        )

    async def run(self) -> None:
        """Renew and probe until cancelled."""
        while True:
            self.beat()
            self._probe_sent = self._now()
            self._commands.request("PUBLISH", self.probe_channel, "")
            self._look_for_presence()
            await anyio.sleep(min(self._probe, self._lease / BEATS_PER_LEASE))

    async def watch_probes(self) -> None:
        """Wait until no probe has returned for too long.

        A connection can be open and deliver nothing: the server is stopped, a cable is pulled, or
        the subscription is gone. TCP does not report this for minutes.

        Raises:
            ConnectionLost: Always, in the end.
        """
        patience = LOST_PROBES * self._probe
        while (rest := self._probe_returned + patience - self._now()) > 0:  # noqa: ASYNC110
            await anyio.sleep(rest)
        raise ConnectionLost(f"Redis has delivered nothing for {patience:g} s")

    def _look_for_presence(self) -> None:
        """Announce the people again where Redis has evicted or flushed them.

        Each worker looks for its own people, because the key exists again as soon as another worker
        has announced people.
        """
        everywhere = self._announcements.first
        for start in range(0, len(everywhere), BATCH):
            rooms, people = zip(*everywhere[start : start + BATCH], strict=True)

            def announce_again(missing: list[int], rooms: tuple[str, ...] = rooms) -> None:
                for index in missing:
                    self._follower.refresh(rooms[index])

            keys = [self._commands.keys.present(room) for room in rooms]
            self._commands.run(_scripts.LOOK, keys, people, announce_again)

    async def renew_rooms(self) -> None:
        """Keep a silent room, with its numbers, while it is followed."""
        while True:
            await anyio.sleep(max(1, math.floor(self._ttl / RENEWALS_PER_TTL)))
            for room in self._follower.rooms:
                for key in self._commands.keys.kept(room):
                    self._commands.request("EXPIRE", key, self._ttl)
