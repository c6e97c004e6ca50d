"""One shared room in this worker: a cache of the engine's state, for all members of this worker."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._engine import Carried, Engine, Snapshot
from ._fanout import Fanout, JoinRequest, already_in
from ._member import Member
from ._position import Position
from ._presence import Watchers

logger = logging.getLogger("wsnursery")


@dataclass(frozen=True, slots=True)
class Person:
    """A person who is present in a shared room, on any worker."""

    id: str
    """Unique, and the same for the whole membership."""
    metadata: Any
    """The metadata that was passed to `SharedRooms.joined`, after a round trip through JSON."""
    here: bool
    """Whether this worker has the connection."""


@dataclass(slots=True)
class Newcomer:
    """A member that joins with a snapshot."""

    member: Member
    request: JoinRequest
    is_due: bool = False
    """Whether the next snapshot was requested after it came, and so includes all that its client
    has seen."""


class SharedRoom:
    """The state of a room in this worker.

    The room is synchronized when it follows the engine without a gap. Until then, messages of the
    engine are ignored, because the requested snapshot will include them, and new members wait.

    A synchronized room may lag behind the room of another worker. So a client of that worker may
    come with a position that is not known here yet. It waits for a snapshot, because treating its
    position as unknown would send it messages again. The other members do not wait.

    Args:
        engine: Provides snapshots.
        fanout: Delivers to the members of this worker.
        note_gap: Called when messages were lost on the way to this worker.
    """

    __slots__ = (
        "_engine",
        "_fanout",
        "_is_announced",
        "_is_asked",
        "_is_known",
        "_note_gap",
        "_own",
        "_own_ids",
        "_people",
        "_waiting",
        "is_synchronized",
        "watchers",
    )

    def __init__(self, engine: Engine, fanout: Fanout, note_gap: Callable[[], None]) -> None:
        self._engine = engine
        self._fanout = fanout
        self._note_gap = note_gap
        self._is_known = False
        """Whether there has been a snapshot, so that the position is valid."""
        self._is_asked = False
        """Whether a requested snapshot is missing. There is one request at a time, so that it is
        known which members were waiting when it was made."""
        self._waiting: dict[object, Newcomer] = {}
        """The members that join with a snapshot, by the token of their connection."""
        self._is_announced = False
        """Whether the people of this worker were announced in this session of the engine."""
        self._own: dict[Member, Person] = {}
        self._own_ids: dict[str, Person] = {}
        self._people: dict[str, Person] = {}
        self.watchers = Watchers[Person]()
        self.is_synchronized = False

    @property
    def name(self) -> str:
        """Its name."""
        return self._fanout.name

    @property
    def is_needed(self) -> bool:
        """Whether it has members or is watched."""
        return bool(self._own or len(self.watchers))

    @property
    def people(self) -> tuple[Person, ...]:
        """The people who are known to be present, on all workers."""
        return tuple(self._people.values())

    def ask(self) -> None:
        """Request a snapshot in a new session of the engine, which answers no earlier request."""
        self.is_synchronized = self._is_asked = False
        self._ask()

    def _ask(self) -> None:
        if self._is_asked:
            return
        self._is_asked = True
        for newcomer in self._waiting.values():
            newcomer.is_due = True
        self._engine.enter(self.name, self._fanout.position if self._is_known else None)

    def lose(self) -> None:
        """The engine is away: the room is not synchronized, and the people may be forgotten."""
        self.is_synchronized = self._is_announced = False

    # ------------------------------------------------------------------------------ membership

    def check_can_join(self, member: Member) -> None:
        """As `Fanout.check_can_join`, also for members that wait."""
        self._fanout.check_can_join(member)
        if member.connection_token in self._waiting:
            raise already_in(self.name)

    def join(self, member: Member, request: JoinRequest) -> None:
        """Add a member, as soon as the room is synchronized and its position can be judged."""
        person = Person(secrets.token_hex(8), member.metadata, here=True)
        self._own[member] = self._own_ids[person.id] = person
        if self.is_synchronized and self._fanout.knows(request.after):
            self._fanout.join(member, request)
            self._engine.announce(self.name, person.id, person.metadata)
            return
        self._waiting[member.connection_token] = Newcomer(member, request)
        if self.is_synchronized:
            self._ask()

    def leave(self, member: Member) -> None:
        """Remove a member."""
        person = self._own.pop(member)
        del self._own_ids[person.id]
        if self._waiting.pop(member.connection_token, None) is None:
            self._fanout.leave(member)
            self._engine.retract(self.name, person.id)

    # ------------------------------------------------------------------------------ the engine

    def synchronize(self, snapshot: Snapshot) -> None:
        """Move to the engine's position, and deliver the messages in between to the members."""
        if not self._is_known:
            self._begin(snapshot)
        elif snapshot.position.epoch != self._fanout.position.epoch:
            self._change_epoch(snapshot)
        self._catch_up(snapshot)
        self._fanout.ends = snapshot.ends
        self._is_known = self.is_synchronized = True
        self._is_asked = False
        self._replace_people(snapshot.people)
        waiting, self._waiting = self._waiting, {}
        for token, newcomer in waiting.items():
            if newcomer.is_due or self._fanout.knows(newcomer.request.after):
                self._fanout.join(newcomer.member, newcomer.request)
            else:
                self._waiting[token] = newcomer
        for member, person in self._own.items():
            if member.connection_token in self._waiting:
                continue
            if not (self._is_announced and person.id in self._people):
                self._engine.announce(self.name, person.id, person.metadata)
        self._is_announced = True
        if self._waiting:
            self._ask()

    def _begin(self, snapshot: Snapshot) -> None:
        """Fill the history, because no member has seen a message yet."""
        epoch, number = snapshot.position.epoch, snapshot.position.number
        self._fanout.restart(Position(epoch, number - len(snapshot.messages)))

    def _change_epoch(self, snapshot: Snapshot) -> None:
        fanout, epoch = self._fanout, snapshot.position.epoch
        end = snapshot.ends.get(fanout.position.epoch)
        if end is None:
            # The engine has lost its data, so the number of missed messages is unknown.
            self._note_gap()
            fanout.miss(1)
            if snapshot.ends or epoch in fanout.ends:
                # The members may already have some of its messages. If an older epoch is back, two
                # servers were used at the same time, and the one that forked is gone.
                fanout.restart(snapshot.position)
            else:  # all of its messages are newer than those of the members
                fanout.restart(Position(epoch, 0))
        else:
            if fanout.position.number > end:  # the members have seen messages that are lost
                self._note_gap()
                fanout.miss(1)
                fanout.rewind(end)
            fanout.rename(epoch)

    def _catch_up(self, snapshot: Snapshot) -> None:
        top, messages = snapshot.position.number, snapshot.messages
        first = top - len(messages) + 1
        if first > self._fanout.position.number + 1:
            self._note_gap()
            self._fanout.skip(first - self._fanout.position.number - 1)
        for carried in messages[max(0, self._fanout.position.number + 1 - first) :]:
            self._deliver(self._fanout.next_position(), carried)

    def deliver(self, position: Position, carried: Carried) -> None:
        """Deliver a message to the members, or request a snapshot if there is a gap before it."""
        if not self.is_synchronized:
            return
        own = self._fanout.position
        if position.epoch == own.epoch and position.number == own.number + 1:
            self._deliver(position, carried)
        elif position.epoch != own.epoch or position.number > own.number:
            self.is_synchronized = False
            # A snapshot that is already requested will include this message.
            self._ask()

    def _deliver(self, position: Position, carried: Carried) -> None:
        try:
            self._fanout.deliver(carried.message, carried.key, position)
        except Exception:
            # One bad message must not end the engine and the other rooms.
            logger.exception("the stamp of the shared room %r has failed", self.name)
            self._fanout.skip(1)

    # -------------------------------------------------------------------------------- presence

    def _replace_people(self, people: Mapping[str, Any]) -> None:
        self._remove([id_ for id_ in self._people if id_ not in people])
        self.people_joined(people)

    def people_joined(self, people: Mapping[str, Any]) -> None:
        """People have joined."""
        for id_, metadata in people.items():
            if id_ not in self._people:
                person = self._own_ids.get(id_) or Person(id_, metadata, here=False)
                self._people[id_] = person
                self.watchers.see_joined(id_, person)

    def people_left(self, ids: Sequence[str]) -> None:
        """People have left."""
        self._remove(ids)
        for id_ in ids:
            if id_ in self._own_ids and self.is_synchronized:
                # The lease of this worker expired although it lives: announce its members again.
                self._engine.announce(self.name, id_, self._own_ids[id_].metadata)

    def _remove(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            person = self._people.pop(id_, None)
            if person is not None:
                self.watchers.see_left(id_, person)
