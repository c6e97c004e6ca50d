"""The seam below `SharedRooms`: what numbers the messages of several workers and carries them.

An engine knows no WebSocket and no member. It numbers what is published, keeps the newest messages
and who is present, and tells its `Sink` of both. It never waits for a worker, and no call of it but
``run`` waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from wsnursery._types import Message

from ._position import Position

EngineState: TypeAlias = Literal["connecting", "live", "away"]
"""``"connecting"``: it has never been live. ``"live"``: messages flow. ``"away"``: it was live, and
tries to be again."""


class EngineAway(OSError):
    """The engine has not numbered a message in time.

    If the connection to it broke before its answer, the message may have been numbered all the
    same.
    """


class EngineMisconfigured(RuntimeError):
    """The engine can never be reached with these settings: a wrong address, password or server."""


class MessageTooBig(ValueError):
    """A message is larger than the engine carries. Nothing was published."""


def too_big(size: int, limit: int) -> MessageTooBig:
    """The error for a message of a size, in bytes."""
    return MessageTooBig(f"a message must have at most {limit} bytes (max_message), got {size}")


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message that is to be published."""

    room: str
    message: Message
    key: str | None = None
    settle: Callable[[Position | Exception], None] | None = None
    """Is called once with the position of the message, or with the error; `None` if no caller waits
    for it. It never raises."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A message that comes from the engine."""

    message: Message
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A room at one moment. What the engine delivers after it follows it without a gap."""

    position: Position
    """The place of the newest message."""
    messages: Sequence[Carried] = ()
    """The newest messages, oldest first and without a gap: the last one is at ``position``. All
    that follow the position that was asked for, as far as they are kept, or the whole history."""
    ends: Mapping[str, int] = field(default_factory=dict[str, int])
    """Older epochs, and the number up to which they are the same sequence as this one."""
    people: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Who is present, on all workers: metadata by id."""


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """A snapshot of an engine's counters."""

    sessions: int = 0
    """How many times it has become live."""
    held: int = 0
    """Messages that have been taken and are not numbered yet."""
    held_bytes: int = 0
    """Their payload, in bytes."""
    refused: int = 0
    """Messages that were not taken because the bounds were full, or given up after too long."""
    round_trip: float | None = None
    """Seconds that the last probe took to come back; `None` before the first."""


class Sink(Protocol):
    """What an engine tells: `SharedRooms` pass one to `Engine.run`. No method waits or raises."""

    @property
    def history(self) -> int:
        """Messages of a room that the engine is to keep."""
        ...

    @property
    def history_bytes(self) -> int:
        """The same bound in bytes."""
        ...

    def connected(self) -> None:
        """A session has begun, and nothing of an earlier one holds: `Engine.enter` every room."""
        ...

    def state_changed(self) -> None:
        """`Engine.state` is another one now."""
        ...

    def synchronize(self, room: str, snapshot: Snapshot) -> None:
        """The answer to `Engine.enter`."""
        ...

    def deliver(self, room: str, position: Position, carried: Carried) -> None:
        """A message of a room."""
        ...

    def people_joined(self, room: str, people: Mapping[str, Any]) -> None:
        """People are present from now on: metadata by id. Some may be known already."""
        ...

    def people_left(self, room: str, ids: Sequence[str]) -> None:
        """People are no longer present."""
        ...


class Engine(Protocol):
    """What carries the messages of shared rooms. Any object with these methods is one.

    Check your own with `wsnursery.testing.check_engine`.
    """

    @property
    def state(self) -> EngineState:
        """Whether it is there."""
        ...

    def statistics(self) -> EngineStatistics:
        """A snapshot of its counters."""
        ...

    async def run(self, sink: Sink) -> None:
        """Carry messages until cancelled. An outage never ends it.

        Raises:
            EngineMisconfigured: It can never become live with these settings.

        *Checkpoint*: yes. *Cancellation*: ends it in bounded time.
        """
        ...

    def publish(self, outgoing: Outgoing) -> bool:
        """Take a message to be numbered, in the order of the calls; never wait.

        Returns:
            `False` if the bounds are full: then nothing becomes of it.

        Raises:
            MessageTooBig: It is larger than the engine carries.
        """
        ...

    def enter(self, room: str, position: Position | None) -> None:
        """Follow a room from a position on: answered by `Sink.synchronize`, once it is live.

        Args:
            room: Its name. In it already, it is synchronized anew.
            position: What the caller has of it; `None` if it has nothing.
        """
        ...

    def leave(self, room: str) -> None:
        """No longer follow a room."""
        ...

    def announce(self, room: str, person: str, metadata: Any) -> None:
        """Somebody is present in a room that is entered and synchronized."""
        ...

    def retract(self, room: str, person: str) -> None:
        """Somebody who was announced is no longer present."""
        ...
