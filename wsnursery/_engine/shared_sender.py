"""`SharedSender`: one task that sends for many connections, such as the members of a room.

A sender task for each of them would cost more than the messages. If the server does not take a
message at once, the task stays with that connection and becomes its sender task. Another task
continues with the other connections. So no connection delays another one.

It is for trio only. On asyncio any task can continue a raw send that has been begun, so the call
that publishes begins it.
"""

from __future__ import annotations

from collections import deque

from wsnursery._backend.backend import Backend
from wsnursery._backend.steps import SuspendedSend

from .sender import Sender
from .service import ServiceTask
from .wire import BUDGET


class SharedSender:
    """Lets connections take turns in one task, which exists while one of them waits for its turn.

    A connection sends one event in each turn, so one with a long queue does not delay the others.
    """

    __slots__ = ("_task", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Sender] = deque()
        """The senders of the connections that wait for their turn."""
        self._task: _Task | None = None

    def add(self, sender: Sender, backend: Backend) -> None:
        """Give a connection its turns, until all its queued events are sent."""
        sender.has_turn = True
        self.waiting.append(sender)
        if self._task is None:
            self._task = _Task(self, backend)

    def replace_task(self, backend: Backend) -> None:
        """The task has become the sender task of a connection: continue in another one."""
        self._task = _Task(self, backend) if self.waiting else None

    def task_ended(self, error: BaseException | None) -> None:
        """The task has ended. If connections still wait, it was cancelled with the event loop."""
        self._task = None
        while self.waiting:
            sender = self.waiting.popleft()
            sender.has_turn = False
            sender.ended(error)


class _Task:
    """The task of a shared sender, until it becomes the sender task of one connection."""

    __slots__ = ("_backend", "_sender", "_service", "_shared")

    def __init__(self, shared: SharedSender, backend: Backend) -> None:
        self._shared = shared
        self._backend = backend
        self._sender: Sender | None = None
        """The connection whose sender task it has become."""
        self._service = ServiceTask(backend, "wsnursery room sender", self._work, self._ended)

    async def _work(self) -> None:
        waiting = self._shared.waiting
        while True:
            for _ in range(min(len(waiting), BUDGET)):
                sender = waiting.popleft()
                rest = _take_turn(sender)
                if rest is not None:
                    self._sender = sender
                    self._shared.replace_task(self._backend)
                    await sender.go_on(rest, self._service)
                    return
                if sender.has_more:
                    waiting.append(sender)
                else:
                    sender.has_turn = False
            if not waiting:
                return
            await self._backend.checkpoint()

    def _ended(self, error: BaseException | None) -> None:
        if self._sender is not None:
            self._sender.ended(error)
        else:
            self._shared.task_ended(error)


def _take_turn(sender: Sender) -> SuspendedSend | None:
    """Let a connection send its oldest event in the running task.

    Returns:
        `None`, or the rest of the raw send if the server does not take the event at once.
    """
    steps = sender.send_all()
    try:
        awaited = steps.send(None)
    except StopIteration:
        return None
    except BaseException as exc:  # noqa: ASYNC103, BLE001 - it concerns that connection only
        sender.ended(exc)
        return None  # noqa: ASYNC104 - see above
    return SuspendedSend(steps, awaited)
