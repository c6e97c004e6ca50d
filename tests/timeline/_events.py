"""Events as the engine makes them, with their clock in the tester's hand."""

from typing import Any
from uuid import UUID

from wsnursery import WebSocketStatistics, hooks
from wsnursery.timeline import Recorder, Timeline

ID = UUID(int=1)
OTHER = UUID(int=2)

STATISTICS = WebSocketStatistics(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None)


def opened(time: float = 0, path: str = "/chat", connection: UUID = ID) -> hooks.Opened:
    """The first event."""
    return hooks.Opened(connection, time, {"type": "websocket", "path": path})


def accepted(time: float, subprotocol: str | None = None, connection: UUID = ID) -> hooks.Accepted:
    return hooks.Accepted(connection, time, subprotocol)


def started(time: float, task: int, name: str) -> hooks.TaskStarted:
    return hooks.TaskStarted(ID, time, task, name)


def received(time: float, size: int = 5) -> hooks.MessageReceived:
    return hooks.MessageReceived(ID, time, "x" * size, size)


def sent(time: float, size: int = 5) -> hooks.MessageSent:
    return hooks.MessageSent(ID, time, b"x" * size, size)


def full(time: float, buffer: Any = "send") -> hooks.BufferFull:
    return hooks.BufferFull(ID, time, buffer)


def dropped(time: float, messages: int, buffer: Any = "send") -> hooks.Dropped:
    return hooks.Dropped(ID, time, buffer, messages)


def failed(time: float, error: BaseException) -> hooks.SendFailed:
    return hooks.SendFailed(ID, time, error)


def broken(time: float, cause: BaseException | None = None) -> hooks.Disconnected:
    return hooks.Disconnected(ID, time, None, "", True, cause)


def disconnected(time: float, code: int | None = 1000, reason: str = "") -> hooks.Disconnected:
    return hooks.Disconnected(ID, time, code, reason, False, None)


def cancelled(time: float, *tasks: int, reason: Any = "disconnected") -> hooks.Cancelled:
    return hooks.Cancelled(ID, time, reason, tasks)


def ended(
    time: float, task: int = 0, error: BaseException | None = None, *, by_cancel: bool = False
) -> hooks.TaskEnded:
    return hooks.TaskEnded(ID, time, task, error, by_cancel)


def closed(
    time: float,
    outcome: BaseException | None = None,
    code: int | None = None,
    reason: str = "",
    connection: UUID = ID,
) -> hooks.Closed:
    """The last event."""
    return hooks.Closed(connection, time, code, reason, outcome, STATISTICS)


def timeline_of(*events: hooks.Event) -> Timeline:
    """What a recorder makes of events of one connection."""
    recorder = Recorder()
    for event in events:
        recorder(event)
    (timeline,) = recorder.timelines()
    return timeline
