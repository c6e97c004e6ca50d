"""One shared room in this worker: a cache of what the engine has, which serves all its members."""

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
    """Somebody who is present in a shared room, on any worker."""

    id: str
    """Unique: the same for as long as the membership lasts."""
    metadata: Any
    """What was given to `SharedRooms.joined`, as JSON gives it back."""
    here: bool
    """Whether this very worker has the connection."""


class SharedRoom:
    """What this worker has of a room.

    The room is synchronized when its position is the engine's. Until then, what the engine delivers
    is ignored, because the snapshot that was asked for will have it, and new members wait.

    Args:
        engine: Where to ask for a snapshot.
        fanout: Delivers to the members of this worker.
        note_gap: Is called when messages were lost on the way to this worker.
    """

    def __init__(self, engine: Engine, fanout: Fanout, note_gap: Callable[[], None]) -> None:
        self._engine = engine
        self._fanout = fanout
        self._note_gap = note_gap
        self._is_known = False
        """The position means something: there has been a snapshot."""
        self._waiting: dict[object, tuple[Member, JoinRequest]] = {}
        """Members that come in with the next snapshot, by the token of their connection."""
        self._is_announced = False
        """The people of this worker have been announced in this session of the engine."""
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
        """Who is present, on all workers, as far as is known."""
        return tuple(self._people.values())

    def ask(self) -> None:
        """Ask the engine for a snapshot."""
        self.is_synchronized = False
        self._engine.enter(self.name, self._fanout.position if self._is_known else None)

    def lose(self) -> None:
        """The engine is away: nothing is synchronized, and it may forget who is present."""
        self.is_synchronized = self._is_announced = False

    # ------------------------------------------------------------------------------ membership

    def check_can_join(self, member: Member) -> None:
        """As `Fanout.check_can_join`, for members that wait, too."""
        self._fanout.check_can_join(member)
        if member.connection_token in self._waiting:
            raise already_in(self.name)

    def join(self, member: Member, request: JoinRequest) -> None:
        """Take a member in, as soon as the room is synchronized."""
        person = Person(secrets.token_hex(8), member.metadata, here=True)
        self._own[member] = self._own_ids[person.id] = person
        if self.is_synchronized:
            self._fanout.join(member, request)
            self._engine.announce(self.name, person.id, person.metadata)
        else:
            self._waiting[member.connection_token] = member, request

    def leave(self, member: Member) -> None:
        """Let a member go."""
        person = self._own.pop(member)
        del self._own_ids[person.id]
        if self._waiting.pop(member.connection_token, None) is None:
            self._fanout.leave(member)
            self._engine.retract(self.name, person.id)

    # ------------------------------------------------------------------------------ the engine

    def synchronize(self, snapshot: Snapshot) -> None:
        """Be at the engine's position, and give the members what lies between."""
        if not self._is_known:
            self._begin(snapshot)
        elif snapshot.position.epoch != self._fanout.position.epoch:
            self._change_epoch(snapshot)
        self._catch_up(snapshot)
        self._fanout.ends = snapshot.ends
        self._is_known = self.is_synchronized = True
        self._replace_people(snapshot.people)
        waiting, self._waiting = self._waiting, {}
        for member, request in waiting.values():
            self._fanout.join(member, request)
        for person in self._own.values():
            if not (self._is_announced and person.id in self._people):
                self._engine.announce(self.name, person.id, person.metadata)
        self._is_announced = True

    def _begin(self, snapshot: Snapshot) -> None:
        """There is no member yet that could have seen anything: fill the history."""
        epoch, number = snapshot.position.epoch, snapshot.position.number
        self._fanout.restart(Position(epoch, number - len(snapshot.messages)))

    def _change_epoch(self, snapshot: Snapshot) -> None:
        fanout, epoch = self._fanout, snapshot.position.epoch
        end = snapshot.ends.get(fanout.position.epoch)
        if end is None:
            # What the engine had is gone, and what the members have missed cannot be known.
            self._note_gap()
            fanout.miss(1)
            if snapshot.ends:  # its messages may be some that the members have
                fanout.restart(snapshot.position)
            else:  # it is younger than all that they have
                fanout.restart(Position(epoch, 0))
        else:
            if fanout.position.number > end:  # the members have seen what the engine has lost
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
            self._deliver(carried)

    def deliver(self, position: Position, carried: Carried) -> None:
        """Give a message to the members, or ask for a snapshot if it does not follow."""
        if not self.is_synchronized:
            return
        own = self._fanout.position
        if position.epoch == own.epoch and position.number == own.number + 1:
            self._deliver(carried)
        elif position.epoch != own.epoch or position.number > own.number:
            self.ask()

    def _deliver(self, carried: Carried) -> None:
        try:
            self._fanout.deliver(carried.message, carried.key)
        except Exception:
            # One bad message must end neither the engine nor the other rooms.
            logger.exception("the stamp of the shared room %r has failed", self.name)
            self._fanout.skip(1)

    # -------------------------------------------------------------------------------- presence

    def _replace_people(self, people: Mapping[str, Any]) -> None:
        self._remove([id_ for id_ in self._people if id_ not in people])
        self.people_joined(people)

    def people_joined(self, people: Mapping[str, Any]) -> None:
        """People are present from now on."""
        for id_, metadata in people.items():
            if id_ not in self._people:
                person = self._own_ids.get(id_) or Person(id_, metadata, here=False)
                self._people[id_] = person
                self.watchers.see_joined(id_, person)

    def people_left(self, ids: Sequence[str]) -> None:
        """People are no longer present."""
        self._remove(ids)
        for id_ in ids:
            if id_ in self._own_ids and self.is_synchronized:
                # This worker was taken for dead by mistake: its members are still here.
                self._engine.announce(self.name, id_, self._own_ids[id_].metadata)

    def _remove(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            person = self._people.pop(id_, None)
            if person is not None:
                self.watchers.see_left(id_, person)
