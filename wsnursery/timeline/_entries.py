"""An event as plain data: nothing of it keeps a message, an exception or a frame alive."""

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
"""Tasks that are named in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event as plain data; ``str()`` is a sentence.

    All texts are escaped and cut: there is no control character in them, whatever the peer sent.
    Messages are not in it, only their sizes.
    """

    number: int
    """Counts up over all connections of the recorder: the order in which things happened."""
    connection: UUID
    """Which connection: `WebSocket.id`."""
    time: float
    """When, on the clock of the event loop, in seconds."""
    kind: Kind
    """Which event."""
    label: str = ""
    """What it is about: the path (``opened``), the subprotocol (``accepted``), the task's name
    (``task_started``, ``task_ended``), the names of the tasks (``cancelled``), code and reason
    (``disconnected``, ``closed``)."""
    detail: tuple[str, ...] = ()
    """Why: an exception and its causes, the outermost first (``send_failed``, ``disconnected``,
    ``task_ended``, ``closed``), or the reason as one line (``cancelled``)."""
    task: int | None = None
    """The task that started or ended; 0 is the body."""
    tasks: tuple[int, ...] = ()
    """The tasks that were cancelled."""
    buffer: Literal["receive", "send"] | None = None
    """Which way, for messages and buffers."""
    messages: int = 0
    """How many were dropped; 1 for a message."""
    size: int = 0
    """The payload of a message, in bytes."""
    broken: bool = False
    """The connection ended without a close."""
    ending: hooks.Ending | None = None
    """How the task (``task_ended``) or the block (``closed``) ended."""

    def __str__(self) -> str:
        return ": ".join(filter(None, [sentence(self), ARROW.join(self.detail)]))

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON, with the sentence as ``"text"``."""
        return {**asdict(self), "connection": str(self.connection), "text": str(self)}


def sentence(entry: Entry) -> str:
    """What happened, without the reason."""
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
"""What happened, without the reason."""

_REASONS = {
    "disconnected": "the connection ended",
    "failed": "something failed",
    "grace_period": "the grace period is over",
    "outside": "from outside",
}


class Message(NamedTuple):
    """A message, kept as little as can be: there may be many, and an `Entry` takes its time."""

    number: int
    time: float
    kind: Literal["received", "sent"]
    size: int

    def entry(self, connection: UUID) -> Entry:
        """The same as an entry of its connection."""
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
    """An event as plain data; `None` for a message, and for one that is not known here.

    Args:
        event: The event; nothing of it is kept.
        number: Its place in the order.
        names: The tasks of the connection that have started and not ended.
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
