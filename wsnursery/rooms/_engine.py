"""The interface below `SharedRooms`: an engine numbers and carries the messages of several workers.

An engine does not know WebSockets or members. It numbers the published messages, keeps the newest
ones and the people who are present, and reports both to its `Sink`. It never waits for a worker.
Only its method ``run`` waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from wsnursery._types import Message

from ._position import Position

EngineState: TypeAlias = Literal["connecting", "live", "away"]
"""``"connecting"``: it has never been live. ``"live"``: messages flow. ``"away"``: it was live, and
reconnects."""


class EngineAway(OSError):
    """The engine has not numbered a message in time.

    If the connection broke before the answer, the message may have been numbered anyway.
    """


class EngineMisconfigured(RuntimeError):
    """The engine can never be reached: the address, the password or the server is wrong."""


class MessageTooBig(ValueError):
    """A message is larger than the engine carries. Nothing was published."""


def too_big(size: int, limit: int) -> MessageTooBig:
    """The error for a message of a size, in bytes."""
    return MessageTooBig(f"a message must have at most {limit} bytes (max_message), got {size}")


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message to publish."""

    room: str
    message: Message
    key: str | None = None
    settle: Callable[[Position | Exception], None] | None = None
    """Called once with the position of the message, or with the error. `None` if no caller waits
    for it. It never raises."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A message that comes from the engine."""

    message: Message
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A room at one moment. The messages that the engine delivers after it follow without a gap."""

    position: Position
    """The position of the newest message."""
    messages: Sequence[Carried] = ()
    """The newest messages, oldest first and without a gap; the last one is at ``position``. These
    are all kept messages after the requested position, or the whole history."""
    ends: Mapping[str, int] = field(default_factory=dict[str, int])
    """Older epochs, each with the number up to which its sequence is the same as the current
    one."""
    people: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The people who are present, on all workers: metadata by id."""


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """A snapshot of an engine's counters."""

    sessions: int = 0
    """The number of times that it has become live."""
    held: int = 0
    """Messages that it has taken and not numbered yet."""
    held_bytes: int = 0
    """Their payload, in bytes."""
    refused: int = 0
    """Messages that were refused because the limits were reached, or dropped after too long."""
    round_trip: float | None = None
    """The round-trip time of the last probe, in seconds; `None` before the first."""


class Sink(Protocol):
    """What an engine calls: `SharedRooms` pass one to `Engine.run`. No method waits or raises."""

    @property
    def history(self) -> int:
        """The number of messages that the engine must keep of each room."""
        ...

    @property
    def history_bytes(self) -> int:
        """The same limit in bytes."""
        ...

    def connected(self) -> None:
        """A session has begun, and the state of earlier ones is void: call `Engine.enter` again."""
        ...

    def state_changed(self) -> None:
        """`Engine.state` has changed."""
        ...

    def synchronize(self, room: str, snapshot: Snapshot) -> None:
        """The answer to `Engine.enter`."""
        ...

    def deliver(self, room: str, position: Position, carried: Carried) -> None:
        """A message of a room."""
        ...

    def people_joined(self, room: str, people: Mapping[str, Any]) -> None:
        """People have come: metadata by id. Some of them may already be known."""
        ...

    def people_left(self, room: str, ids: Sequence[str]) -> None:
        """People have left."""
        ...


class Engine(Protocol):
    """Carries the messages of shared rooms. Any object with these methods is an engine.

    Check your own engine with `wsnursery.testing.check_engine`.
    """

    @property
    def state(self) -> EngineState:
        """The state of its connection."""
        ...

    def statistics(self) -> EngineStatistics:
        """A snapshot of its counters."""
        ...

    async def run(self, sink: Sink) -> None:
        """Carry messages until cancelled. An outage never ends it.

        Raises:
            EngineMisconfigured: It can never become live with these settings.

        *Checkpoint*: yes. *Cancellation*: takes a limited time.
        """
        ...

    def publish(self, outgoing: Outgoing) -> bool:
        """Take a message, to number it in the order of the calls. Never waits.

        Returns:
            `False` if the limits are reached. Then the message is not published.

        Raises:
            MessageTooBig: It is larger than the engine carries.
        """
        ...

    def enter(self, room: str, position: Position | None) -> None:
        """Follow a room from a position on. `Sink.synchronize` answers when the engine is live.

        Args:
            room: The name. A room that is already followed is synchronized again.
            position: The newest message that the caller has; `None` if it has none.
        """
        ...

    def leave(self, room: str) -> None:
        """Stop following a room."""
        ...

    def announce(self, room: str, person: str, metadata: Any) -> None:
        """Announce a person in a room that is entered and synchronized."""
        ...

    def retract(self, room: str, person: str) -> None:
        """Retract a person who was announced."""
        ...
