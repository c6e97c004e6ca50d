"""Following rooms: subscribe, request a snapshot, and pass on pushed messages."""

from __future__ import annotations

import json
import logging
import secrets
from functools import partial
from typing import Any, Final

import anyio

from wsnursery.rooms import Carried, Position, Sink, Snapshot

from . import _scripts
from ._codec import decode
from ._commands import Commands
from ._connection import Reply

logger = logging.getLogger("wsnursery")

BATCH: Final = 256
"""The most rooms that are synchronized at a time, because their answers wait in memory."""


class Follower:
    """Keeps the sink's rooms synchronized with Redis.

    SUBSCRIBE is sent before the script that returns the snapshot, on the same connection. So
    messages that are pushed before the snapshot are part of it, and messages that are pushed after
    it follow it. There is no gap between the two, and no message has to be kept until then.

    Args:
        commands: Sends commands to Redis.
        sink: Receives the messages.
        ttl: Seconds for which Redis keeps an unused room.
        lease: The lease of a worker, in seconds.
    """

    def __init__(self, commands: Commands, sink: Sink, ttl: int, lease: float) -> None:
        self._commands = commands
        self._sink = sink
        self._ttl = ttl
        self._lease = lease
        self._followed: set[str] = set()
        self._wanted: dict[str, Position | None] = {}
        """The rooms that must be synchronized, with the position that the sink has."""
        self._has_wanted = anyio.Event()
        self._unanswered = 0
        self._all_answered = anyio.Event()

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms that are followed."""
        return tuple(self._followed)

    def enter(self, room: str, position: Position | None) -> None:
        """Follow a room, and synchronize it from the position that the sink has."""
        self._wanted[room] = position
        self._has_wanted.set()

    def refresh(self, room: str) -> None:
        """Synchronize a room again, if it is still followed."""
        if room in self._followed:
            self.enter(room, None)

    def leave(self, room: str) -> None:
        """Stop following a room."""
        self._wanted.pop(room, None)
        if room in self._followed:
            self._followed.remove(room)
            self._commands.connection.send("UNSUBSCRIBE", self._commands.keys.channel(room))

    async def run(self) -> None:
        """Synchronize entered rooms. Runs until cancelled."""
        while True:
            await self._has_wanted.wait()
            self._has_wanted = anyio.Event()
            await self.synchronize()

    async def synchronize(self) -> None:
        """Synchronize all entered rooms, one batch after the other."""
        while self._wanted:
            batch = {room: self._wanted.pop(room) for room in list(self._wanted)[:BATCH]}
            self._subscribe([room for room in batch if room not in self._followed])
            self._unanswered = len(batch)
            self._all_answered = anyio.Event()
            for room, position in batch.items():
                self._ask(room, position)
            await self._all_answered.wait()

    def _subscribe(self, rooms: list[str]) -> None:
        if rooms:
            self._followed.update(rooms)
            self._commands.connection.send(
                "SUBSCRIBE", *(self._commands.keys.channel(room) for room in rooms)
            )

    def _ask(self, room: str, position: Position | None) -> None:
        keys = self._commands.keys
        had = ("", 0) if position is None else (position.epoch, position.number)
        self._commands.run(
            _scripts.SYNCHRONIZE,
            [keys.meta(room), keys.history(room), keys.present(room), keys.workers],
            [*had, self._sink.history, secrets.token_hex(8), self._ttl, room, self._lease],
            partial(self._answer, room),
        )

    def _answer(self, room: str, reply: Reply) -> None:
        """Handle a snapshot. The reader calls it between two pushes, so later pushes are newer."""
        # The room may have been left, or entered again, since the question was sent.
        if room in self._followed and room not in self._wanted:
            try:
                snapshot = _snapshot(reply)
            except ValueError as exc:
                self._complain(self._commands.keys.channel(room), exc)
            else:
                self._sink.synchronize(room, snapshot)
        self._unanswered -= 1
        if not self._unanswered:
            self._all_answered.set()

    def on_push(self, channel: bytes, data: bytes) -> None:
        """Handle a push on the channel of a room."""
        try:
            room = self._commands.keys.room_of(channel.decode())
            if room in self._followed:
                self._handle(room, data[:1], data[1:])
        except ValueError as exc:
            self._complain(repr(channel)[2:-1], exc)

    def _handle(self, room: str, kind: bytes, data: bytes) -> None:
        if kind == b"m":
            for position, carried in _batch(data):
                self._sink.deliver(room, position, carried)
        elif kind == b"j":
            self._sink.people_joined(room, json.loads(data))
        elif kind == b"l":
            self._sink.people_left(room, json.loads(data))
        else:
            raise ValueError(f"unknown kind of push: {kind!r}")

    def _complain(self, name: str, exc: Exception) -> None:
        # Another program uses our names. Its data must affect no other room.
        logger.warning("Redis has data under %s that are not from wsnursery: %s", name, exc)


def _batch(data: bytes) -> list[tuple[Position, Carried]]:
    """Read the messages of a push."""
    end = data.index(b":") + 1
    name, first, *lengths = data[: end - 1].split(b" ")
    epoch, batch = name.decode(), list[tuple[Position, Carried]]()
    begin = end
    for number, length in enumerate(map(int, lengths), int(first)):
        end = begin + length
        batch.append((Position(epoch, number), decode(data[begin:end])))
        begin = end
    return batch


def _snapshot(reply: Reply) -> Snapshot:
    epoch, number, ends, messages, people = reply
    older: list[str] = ends.decode().split()
    metadata: dict[str, Any] = {
        id_.decode(): json.loads(text) for id_, text in zip(people[::2], people[1::2], strict=True)
    }
    return Snapshot(
        Position(epoch.decode(), int(number)),
        [decode(body) for body in messages],
        {epoch: int(end) for epoch, end in zip(older[::2], older[1::2], strict=True)},
        metadata,
    )
