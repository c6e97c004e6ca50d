"""Announces and retracts the people of this worker in batches, with one script per room."""

from __future__ import annotations

import json
from typing import Any, Final

import anyio

from . import _scripts
from ._commands import Commands

GONE: Final = object()
"""Stands in place of the metadata of a person who has left."""


class Announcements:
    """The changes among the people of this worker, during one session.

    Each session has its own worker name. So people that Redis has restored from an old file, or
    that a session could not retract, do not stay: they belong to a name whose lease ends.

    Args:
        commands: Sends commands to Redis.
        worker: The name of this session.
        ttl: Seconds after which keys expire that are not renewed.
    """

    def __init__(self, commands: Commands, worker: str, ttl: int) -> None:
        self._commands = commands
        self._worker = worker
        self._ttl = ttl
        self._changes: dict[str, dict[str, Any]] = {}
        """By room and person: the metadata, or `GONE`."""
        self._present: dict[str, dict[str, None]] = {}
        """By room: the people that were announced to Redis, the first one first."""
        self._has_changes = anyio.Event()

    @property
    def first(self) -> tuple[tuple[str, str], ...]:
        """Each room in which people of this worker are present, and who was announced first.

        As long as Redis has this person, its key has not been evicted since, so it has the others.
        """
        return tuple((room, next(iter(people))) for room, people in self._present.items())

    def announce(self, room: str, person: str, metadata: Any) -> None:
        """Announce a person."""
        self._changes.setdefault(room, {})[person] = metadata
        self._has_changes.set()

    def retract(self, room: str, person: str) -> None:
        """Retract a person."""
        self.announce(room, person, GONE)

    async def run(self) -> None:
        """Send every change to Redis. Runs until cancelled."""
        while True:
            await self._has_changes.wait()
            self._has_changes = anyio.Event()
            self.flush()

    def flush(self) -> None:
        """Send the changes so far to Redis."""
        changes, self._changes = self._changes, {}
        for room, people in changes.items():
            joined = {id_: metadata for id_, metadata in people.items() if metadata is not GONE}
            if joined:
                self._present.setdefault(room, {}).update(dict.fromkeys(joined))
                self._send_joined(room, joined)
            left = [
                id_ for id_ in people if id_ in self._present.get(room, ()) and id_ not in joined
            ]
            if left:
                self._send_left(room, left)

    def _send_joined(self, room: str, people: dict[str, Any]) -> None:
        keys, worker = self._commands.keys, self._worker
        channel = keys.channel(room)
        pairs = [text for id_, metadata in people.items() for text in (id_, _json(metadata))]
        self._commands.run(
            _scripts.ANNOUNCE,
            [keys.present(room), keys.rooms_of(worker)],
            [worker, channel, room, self._ttl, "j" + _json(people), *pairs],
        )

    def _send_left(self, room: str, people: list[str]) -> None:
        keys, present = self._commands.keys, self._present[room]
        for id_ in people:
            del present[id_]
        if not present:
            del self._present[room]
        self._commands.run(
            _scripts.RETRACT,
            [keys.present(room), keys.rooms_of(self._worker)],
            [keys.channel(room), "" if present else room, "l" + _json(people), *people],
        )


def _json(obj: Any) -> str:
    return json.dumps(obj, ensure_ascii=False, separators=(",", ":"))
