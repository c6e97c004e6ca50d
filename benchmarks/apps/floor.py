"""The least cost of the contract: the raw loop with the task switches that the contract needs.

One task is always in `receive` (to get the disconnect), and another one reads. On trio a third task
is in `send` (a caller's cancellation must not reach it); on asyncio every send lets other tasks
run. It does not check, count, limit, time or clean up anything. Only the difference between this
loop and wsnursery can still be reduced; the difference between this loop and the raw one cannot.
"""

import asyncio
from collections import deque
from typing import Any

import anyio
import sniffio
import trio

from . import parse_push
from .raw import lifespan


class _Connection:
    def __init__(self, receive: Any, send: Any) -> None:
        self.raw_receive, self.raw_send = receive, send
        self.inbox: deque[Any] = deque()
        self.outbox: deque[tuple[Any, Any]] = deque()
        on_trio = sniffio.current_async_library() == "trio"
        wakeup = _TrioWakeup if on_trio else _AsyncioWakeup
        self.new_wakeup = wakeup
        self.reader, self.sender = wakeup(), wakeup()
        self.send = self.send_through_task if on_trio else self.send_and_yield

    async def keep_receiving(self) -> None:
        event = None
        while event is None or event["type"] == "websocket.receive":
            event = await self.raw_receive()
            self.inbox.append(event)
            self.reader.wake()

    async def receive(self) -> Any:
        while not self.inbox:
            await self.reader.wait()
        return self.inbox.popleft()

    async def keep_sending(self) -> None:
        while True:
            if self.outbox:
                event, taken = self.outbox.popleft()
                await self.raw_send(event)
                taken.wake()
            else:
                await self.sender.wait()

    async def send_through_task(self, event: Any) -> None:
        taken = self.new_wakeup()
        self.outbox.append((event, taken))
        self.sender.wake()
        await taken.wait()

    def post(self, event: Any) -> None:
        """Send without waiting. Each member has a task, so that a slow one delays no other."""
        self.outbox.append((event, self.new_wakeup()))
        self.sender.wake()

    async def send_and_yield(self, event: Any) -> None:
        await self.raw_send(event)
        await asyncio.sleep(0)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve one scope."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    connection = _Connection(receive, send)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.keep_receiving)
        tasks.start_soon(connection.keep_sending)
        await _HANDLERS[scope["path"]](connection)
        tasks.cancel_scope.cancel()


async def _echo(connection: _Connection) -> None:
    while (event := await connection.receive())["type"] == "websocket.receive":
        await connection.send({"type": "websocket.send", "text": event["text"]})


async def _push(connection: _Connection) -> None:
    while (event := await connection.receive())["type"] == "websocket.receive":
        count, payload = parse_push(event["text"])
        for _ in range(count):
            await connection.send({"type": "websocket.send", "text": payload})


async def _receive(connection: _Connection) -> None:
    while (event := await connection.receive())["type"] == "websocket.receive":
        if event["text"] == "end":
            await connection.send({"type": "websocket.send", "text": "end"})


async def _broadcast(connection: _Connection) -> None:
    _members[connection] = None
    try:
        while (event := await connection.receive())["type"] == "websocket.receive":
            for member in list(_members):
                member.post({"type": "websocket.send", "text": event["text"]})
    finally:
        del _members[connection]


class _TrioWakeup:
    def __init__(self) -> None:
        self._task: Any = None

    async def wait(self) -> None:
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None


class _AsyncioWakeup:
    def __init__(self) -> None:
        self._future: Any = None

    async def wait(self) -> None:
        self._future = asyncio.get_running_loop().create_future()
        await self._future

    def wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


_HANDLERS = {"/echo": _echo, "/push": _push, "/receive": _receive, "/broadcast": _broadcast}
_members: dict[_Connection, None] = {}
