"""An event as plain data, which keeps no message, exception or frame alive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from wsnursery import hooks
from wsnursery._errors import escaped

from ._words import ARROW, amount, chain, counted, ending

Kind: TypeAlias = Literal[
    "opened",
    "accepted",
    "task_started",
    "received",
    "sent",
    "buffer_full",
    "dropped",
    "send_failed",
    "disconnected",
    "cancelled",
    "task_ended",
    "closed",
]
"""The events of `wsnursery.hooks`, by their names."""

BODY = 0
"""The number of the body among the tasks."""

_MAX_NAMES = 6
"""The most tasks that one line names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event as plain data; ``str()`` is a sentence.

    All texts are escaped and cut, so they contain no control characters, whatever the peer sent.
    An entry has the size of a message, but not the message.
    """

    number: int
    """The position in the order of events, counted over all connections of the recorder."""
    connection: UUID
    """The connection: `WebSocket.id`."""
    time: float
    """The time in seconds, on the clock of the event loop."""
    kind: Kind
    """The kind of event."""
    label: str = ""
    """The subject: the path (``opened``), the subprotocol (``accepted``), the task's name
    (``task_started``, ``task_ended``), the names of the tasks (``cancelled``), code and reason
    (``disconnected``, ``closed``)."""
    detail: tuple[str, ...] = ()
    """The reason: an exception and its causes, the outermost first (``send_failed``,
    ``disconnected``, ``task_ended``, ``closed``), or one line of text (``cancelled``)."""
    task: int | None = None
    """The task that started or ended; 0 is the body."""
    tasks: tuple[int, ...] = ()
    """The tasks that were cancelled."""
    buffer: Literal["receive", "send"] | None = None
    """The direction, for messages and buffers."""
    messages: int = 0
    """The number of dropped messages; 1 for a message."""
    size: int = 0
    """The payload of a message, in bytes."""
    broken: bool = False
    """Whether the connection ended abnormally (``disconnected``)."""
    ending: hooks.Ending | None = None
    """How the task (``task_ended``) or the block (``closed``) ended."""

    def __str__(self) -> str:
        return ": ".join(filter(None, [sentence(self), ARROW.join(self.detail)]))

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as data for JSON, with the sentence as ``"text"``."""
        return {**asdict(self), "connection": str(self.connection), "text": str(self)}


def sentence(entry: Entry) -> str:
    """Describe the event, without the reason."""
    return _SENTENCES[entry.kind](entry)


ENDINGS: dict[hooks.Ending | None, str] = {
    "returned": "returned",
    "cancelled": "was cancelled",
    "disconnected": "ended by the disconnect",
    "failed": "failed",
}

_SENTENCES: dict[Kind, Callable[[Entry], str]] = {
    "opened": lambda entry: f"opened {entry.label}",
    "accepted": lambda entry: f"accepted{entry.label and f', subprotocol {entry.label}'}",
    "task_started": lambda entry: f"{entry.label} started",
    "received": lambda entry: f"received {amount(entry.messages, entry.size)}",
    "sent": lambda entry: f"sent {amount(entry.messages, entry.size)}",
    "buffer_full": lambda entry: f"{entry.buffer} buffer full",
    "dropped": lambda entry: (
        f"{counted(entry.messages, 'message')} dropped "
        f"{'unread' if entry.buffer == 'receive' else 'unsent'}"
    ),
    "send_failed": lambda _entry: "send failed",
    "disconnected": lambda entry: f"{'broken' if entry.broken else 'disconnected'}, {entry.label}",
    "cancelled": lambda entry: f"cancelled {entry.label}",
    "task_ended": lambda entry: f"{entry.label} {ENDINGS[entry.ending]}",
    "closed": lambda entry: f"closed, {entry.label}",
}
"""The description of each kind of event, without the reason."""

_REASONS = {
    "disconnected": "the connection ended",
    "failed": "something failed",
    "grace_period": "the grace period is over",
    "outside": "from outside",
}


class MessageEntry(NamedTuple):
    """A message in a compact form, because there may be many, and an `Entry` is slow to make."""

    number: int
    time: float
    kind: Literal["received", "sent"]
    size: int

    def entry(self, connection: UUID) -> Entry:
        """Return the entry for this message."""
        return Entry(
            number=self.number,
            connection=connection,
            time=self.time,
            kind=self.kind,
            buffer="receive" if self.kind == "received" else "send",
            messages=1,
            size=self.size,
        )


def entry_of(event: hooks.Event, number: int, names: Mapping[int, str]) -> Entry | None:
    """Convert an event to plain data. `None` for a message, and for an unknown event.

    Args:
        event: The event, to which no reference is kept.
        number: Its position in the order of events.
        names: The running tasks of the connection.
    """
    make = partial(Entry, number=number, connection=event.connection, time=event.time)
    return _traffic(event, make) or _task(event, make, names) or _connection(event, make)


def _traffic(event: hooks.Event, make: partial[Entry]) -> Entry | None:
    match event:
        case hooks.BufferFull():
            return make(kind="buffer_full", buffer=event.buffer)
        case hooks.Dropped():
            return make(kind="dropped", buffer=event.buffer, messages=event.messages)
        case _:
            return None


def _task(event: hooks.Event, make: partial[Entry], names: Mapping[int, str]) -> Entry | None:
    def name(task: int) -> str:
        return names.get(task, f"task {task}")

    match event:
        case hooks.TaskStarted():
            return make(kind="task_started", label=name(event.task), task=event.task)
        case hooks.Cancelled():
            more = len(event.tasks) - _MAX_NAMES
            named = ", ".join(map(name, event.tasks[:_MAX_NAMES])) or "the application"
            return make(
                kind="cancelled",
                label=f"{named} and {more} more" if more > 0 else named,
                detail=(_REASONS.get(event.reason, event.reason),),
                tasks=event.tasks,
            )
        case hooks.TaskEnded():
            return make(
                kind="task_ended",
                label=name(event.task),
                detail=chain(event.error),
                task=event.task,
                ending=event.ending,
            )
        case _:
            return None


def _connection(event: hooks.Event, make: partial[Entry]) -> Entry | None:
    match event:
        case hooks.Opened():
            return make(kind="opened", label=escaped(event.scope.get("path", "")))
        case hooks.Accepted():
            return make(kind="accepted", label=escaped(event.subprotocol or ""))
        case hooks.SendFailed():
            return make(kind="send_failed", detail=chain(event.error))
        case hooks.Disconnected():
            return make(
                kind="disconnected",
                label=ending(event.code, event.reason),
                detail=chain(event.cause),
                broken=event.broken,
            )
        case hooks.Closed():
            return make(
                kind="closed",
                label=ending(event.code, event.reason),
                detail=chain(event.outcome),
                ending=event.ending,
            )
        case _:
            return None
