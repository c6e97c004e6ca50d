"""The current state of every connection as plain data, from the events of the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wsnursery import Options, WebSocketStatistics, hooks

from ._asgi import Scope
from ._handlers import kind_of, name_of
from ._subjects import Subject, Subjects

KEPT = 1
"""The number of ended connections that are still shown when another one opens."""

REASONS = {
    "disconnected": "the connection ended",
    "failed": "a task failed",
    "grace_period": "the grace period is over",
    "outside": "from outside",
}
"""The reasons why tasks were cancelled, in words."""


@dataclass(slots=True)
class Task:
    """The body or a child."""

    name: str
    state: str = "running"
    """``running``, or ``stopping`` while a cancelled task cleans up. At the end ``cancelled``,
    ``failed``, ``ended``, or ``disconnected`` if the exception about the disconnect escaped."""


@dataclass(slots=True)
class Node:
    """One connection."""

    kind: str
    name: str
    tasks: dict[int, Task] = field(default_factory=dict[int, Task])
    cancelled: str = ""
    """Why the scope was cancelled; empty if it was not."""
    last: WebSocketStatistics | None = None
    """The counters at the end; `None` while the connection is open."""
    code: int | None = None

    def see(self, event: hooks.Event) -> None:
        """Update the state from an event."""
        match event:
            case hooks.TaskStarted():
                self.tasks[event.task] = Task(event.name)
            case hooks.Cancelled():
                self.cancelled = self.cancelled or REASONS[event.reason]
                for number, task in self.tasks.items():
                    if task.state == "running" and (not event.tasks or number in event.tasks):
                        task.state = "stopping"
            case hooks.TaskEnded():
                ended = event.ending
                self.tasks[event.task].state = "ended" if ended == "returned" else ended
            case hooks.Closed():
                self.last = event.statistics
                self.code = event.code
            case _:
                pass


class Tree:
    """A hook that keeps the state of all connections."""

    messages: bool = False
    """False, because the connections count messages themselves."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def __call__(self, event: hooks.Event) -> None:
        """Update the states from an event; see `hooks.Hook`."""
        connection = str(event.connection)
        if isinstance(event, hooks.Opened):
            self._forget()
            self._nodes[connection] = _node(event.scope)
        else:
            self._nodes[connection].see(event)

    def _forget(self) -> None:
        """Forget ended connections. This waits for a new one, so that the page does not jump."""
        ended = [connection for connection, node in self._nodes.items() if node.last is not None]
        for connection in ended[:-KEPT]:
            del self._nodes[connection]

    def snapshots(self, subjects: Subjects) -> dict[str, dict[str, Any]]:
        """Return what the page shows of each connection, by its id, oldest first."""
        found: dict[str, dict[str, Any]] = {}
        for connection, node in self._nodes.items():
            subject = subjects.get(connection)
            statistics = subject.ws.statistics() if subject and not node.last else node.last
            if statistics is not None:  # otherwise its origin is being denied
                shown = _shown(node, subject, statistics, subjects.options)
                found[connection] = {"id": connection, **shown}
        return found


def _node(scope: Scope) -> Node:
    return Node(kind_of(scope), name_of(scope), {0: Task("body")})


def _shown(
    node: Node, subject: Subject | None, statistics: WebSocketStatistics, options: Options
) -> dict[str, Any]:
    return {
        "kind": node.kind,
        "name": node.name,
        "state": subject.ws.state if subject and not node.last else "ended",
        "code": node.code,
        "fault": subject.seam.fault if subject and not node.last else "",
        "cancelled": node.cancelled,
        "tasks": [{"name": task.name, "state": task.state} for task in node.tasks.values()],
        "receive": {"used": statistics.receive_buffer_used, "limit": options.receive_buffer},
        "send": {"used": statistics.send_buffer_used, "limit": options.send_buffer},
        "received": statistics.messages_received,
        "sent": statistics.messages_sent,
    }
