"""Check an engine of shared rooms against the guarantees that every engine must give."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.lowlevel

from wsnursery import Options, open_websocket
from wsnursery.rooms import (
    Engine,
    Joined,
    Left,
    Member,
    Person,
    Position,
    SharedRooms,
)

from ._conformance import run_checks
from ._peer import Peer
from ._server import Server

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

Interrupt: TypeAlias = Callable[[], Awaitable[object]]
"""Breaks the connections of all engines, which then reconnect."""

WAIT_SECONDS = 20.0
"""Seconds within which an expected event must happen. No check waits for all of it."""

LOOK_EVERY = 0.005
"""Seconds between two checks of a condition."""

HISTORY = 20
"""Messages that the rooms of the checks keep."""


@dataclass
class Setting:
    """The arguments of a check."""

    make: Callable[[], Engine]
    interrupt: Interrupt | None


async def check_engine(make: Callable[[], Engine], *, interrupt: Interrupt | None = None) -> None:
    """Check that an engine keeps the guarantees of `wsnursery.rooms.SharedRooms`.

    Every check has its own rooms, and two workers. Run it on every backend that the engine
    supports, and in real time if the engine does real I/O.

    Args:
        make: Makes an engine. All engines share their data, as the workers of one application do.
        interrupt: Breaks the connections of all engines, if there are any, without loss of data.

    Raises:
        ExceptionGroup: Some checks failed. Each error has a note with the violated guarantee.

    *Checkpoint*: yes. *Cancellation*: ends the current check, with its engines.
    """
    await run_checks("engine", ENGINE_CHECKS, Setting(make, interrupt))


class Recipient:
    """A member over a connection in memory, with the messages that it receives."""

    def __init__(self, peer: Peer, member: Member) -> None:
        self._peer = peer
        self.member = member
        self.got: list[str] = []
        self.missed = 0

    def look(self) -> list[str]:
        """Return all messages that it has received so far."""
        self.got += [str(self._peer.receive_nowait()) for _ in range(self._peer.pending)]
        return self.got

    @property
    def texts(self) -> list[str]:
        """The published texts of its messages."""
        return [message.split(" ", 1)[1] for message in self.look()]

    @property
    def positions(self) -> list[str]:
        """The positions of its messages."""
        return [message.split(" ", 1)[0] for message in self.look()]

    async def count_missed(self) -> None:
        """Count the messages that it has missed."""
        while True:
            self.missed += await self.member.missed()


def _stamped(message: str | bytes, position: Position) -> str:
    return f"{position} {message if isinstance(message, str) else message.decode()}"


class World:
    """Two workers whose engines share their data."""

    def __init__(self, setting: Setting, stack: AsyncExitStack) -> None:
        self._setting = setting
        self._stack = stack
        self.room = f"room {secrets.token_hex(4)}"
        self.group = anyio.create_task_group()

    def make(self) -> SharedRooms:
        """Make a worker that does not run yet."""
        return SharedRooms(self._setting.make(), history=HISTORY, stamp=_stamped, linger=0)

    async def worker(self) -> SharedRooms:
        """Start a worker, and wait until it is live."""
        rooms = self.make()
        await self.start(rooms)
        await rooms.wait_live()
        return rooms

    async def start(self, rooms: SharedRooms) -> anyio.CancelScope:
        """Run a worker. Cancel the returned scope to end it."""
        scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await rooms.run()

        self.group.start_soon(run)
        return scope

    async def visit(self, rooms: SharedRooms) -> None:
        """Join a room, and leave it immediately."""
        server = Server()
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            with rooms.joined(self.room, ws):
                await anyio.lowlevel.checkpoint()

    async def client(
        self,
        rooms: SharedRooms,
        *,
        room: str | None = None,
        metadata: object = None,
        replay: int = 0,
        after: Position | None = None,
    ) -> Recipient:
        """Join a room. If the worker runs, wait until the room is synchronized."""
        server = Server(send_queue=1_000_000)
        options = Options(send_buffer=100_000)
        ws = await self._stack.enter_async_context(
            open_websocket(server.scope, server.receive, server.send, options=options)
        )
        await ws.accept()
        joined = rooms.joined(room or self.room, ws, metadata=metadata, replay=replay, after=after)
        client = Recipient(server.peer, self._stack.enter_context(joined))
        self.group.start_soon(client.count_missed)
        if rooms.state == "live":
            await until(lambda: client.member.position is not None)
        return client


@asynccontextmanager
async def _world(setting: Setting) -> AsyncGenerator[World]:
    failure: Exception | None = None
    async with AsyncExitStack() as stack:
        world = World(setting, stack)
        async with world.group:
            try:
                async with stack:
                    yield world
            except Exception as exc:  # noqa: BLE001 - it must leave without a group
                failure = exc
            world.group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    with anyio.fail_after(WAIT_SECONDS):
        # Poll, because engines have no event for every condition.
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(LOOK_EVERY)


def _reads(client: Recipient, texts: list[str]) -> Callable[[], bool]:
    return lambda: client.texts == texts


# --------------------------------------------------------------------------------------- the checks


async def _one_order(setting: Setting) -> None:
    async with _world(setting) as world:
        one, two = await world.worker(), await world.worker()
        clients = [await world.client(rooms) for rooms in (one, two, one, two)]

        async def publish(rooms: SharedRooms, name: str) -> None:
            for number in range(50):
                assert rooms.publish(world.room, f"{name}{number}")
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(publish, one, "a")
            group.start_soon(publish, two, "b")
        await until(lambda: all(len(client.look()) == 100 for client in clients))
        for client in clients:
            assert client.got == clients[0].got
            for name in "ab":
                texts = [text for text in client.texts if text[0] == name]
                assert texts == [f"{name}{number}" for number in range(50)]
        positions = [Position.parse(text) for text in clients[0].positions]
        assert [at.number for at in positions if at is not None] == list(range(1, 101))
        assert [client.missed for client in clients] == [0] * 4


async def _no_member_here(setting: Setting) -> None:
    async with _world(setting) as world:
        one, two = await world.worker(), await world.worker()
        client = await world.client(one)
        other = await world.client(one, room=f"{world.room}, another")
        assert two.publish(world.room, b"bytes", key="key")
        position = await two.publish_confirmed(world.room, "\N{SNOWMAN}")
        await until(_reads(client, ["bytes", "\N{SNOWMAN}"]))
        assert client.positions[1] == str(position)
        assert client.member.position == position
        assert other.look() == []


async def _latest(setting: Setting) -> None:
    async with _world(setting) as world:
        one, two = await world.worker(), await world.worker()
        for key in (None, "", "a b\n:{}"):
            await two.publish_confirmed(world.room, repr(key), key=key)
        client = await world.client(one, replay=3)
        await until(_reads(client, ["None", "''", repr("a b\n:{}")]))


async def _resume(setting: Setting) -> None:
    async with _world(setting) as world:
        one, two = await world.worker(), await world.worker()
        texts = [str(number) for number in range(30)]
        positions = [await one.publish_confirmed(world.room, text) for text in texts]
        late = await world.client(two, after=positions[3])
        await until(_reads(late, texts[-HISTORY:]))
        await until(lambda: late.missed == 30 - 4 - HISTORY)
        soon = await world.client(two, after=positions[20])
        await one.publish_confirmed(world.room, "next")
        await until(_reads(soon, [*texts[21:], "next"]))
        up_to_date = await world.client(one, after=positions[29], replay=5)
        await until(_reads(up_to_date, ["next"]))
        assert (soon.missed, up_to_date.missed) == (0, 0)
        strange = await world.client(one, after=Position("nothing", 7), replay=1)
        await until(_reads(strange, ["next"]))
        await until(lambda: strange.missed == 1)


async def _held(setting: Setting) -> None:
    async with _world(setting) as world:
        one = world.make()
        assert one.state == "connecting"
        texts = [str(number) for number in range(10)]
        for text in texts:
            assert one.publish(world.room, text)
        client = await world.client(one)
        assert (client.member.position, one.statistics().held) == (None, 10)
        await world.start(one)
        await one.wait_live()
        await until(_reads(client, texts))
        await until(lambda: one.statistics().held == 0)


async def _presence(setting: Setting) -> None:
    async with _world(setting) as world:
        one, two = await world.worker(), world.make()
        ended = await world.start(two)
        await two.wait_live()

        def seen(rooms: SharedRooms) -> set[tuple[object, bool]]:
            return {(str(person.metadata), person.here) for person in rooms.present(world.room)}

        changes: list[tuple[type[object], object]] = []

        async def watch(*, task_status: TaskStatus[None]) -> None:
            with one.presence(world.room) as watching:
                task_status.started()
                async for change in watching:
                    assert isinstance(change, Joined | Left)
                    assert isinstance(change.who, Person)
                    changes.append((type(change), change.who.metadata))

        await world.group.start(watch)
        await world.client(one, metadata="Ann")
        await world.client(two, metadata={"name": "Bob"})
        bob = str({"name": "Bob"})
        await until(lambda: seen(one) == {("Ann", True), (bob, False)})
        await until(lambda: seen(two) == {("Ann", False), (bob, True)})
        await until(lambda: len(changes) == 2)  # a short visit in between is not shown
        ended.cancel()
        await until(lambda: seen(one) == {("Ann", True)})
        await until(lambda: len(changes) == 3)
        assert changes == [(Joined, "Ann"), (Joined, {"name": "Bob"}), (Left, {"name": "Bob"})]


async def _leaving(setting: Setting) -> None:
    async with _world(setting) as world:
        one, two = await world.worker(), await world.worker()
        stays = await world.client(two)
        for _ in range(20):  # the last member of a worker comes and goes quickly
            await world.visit(one)
        await one.publish_confirmed(world.room, "after all")
        await until(_reads(stays, ["after all"]))
        await until(lambda: len(two.present(world.room)) == 1)


async def _cancelled(setting: Setting) -> None:
    async with _world(setting) as world:
        for wait in (0.0, 0.001, 0.01, 0.1):
            rooms = world.make()
            await world.client(rooms)
            rooms.publish(world.room, "held")
            with anyio.fail_after(WAIT_SECONDS), anyio.move_on_after(wait):
                await rooms.run()
        last = await world.worker()
        await last.publish_confirmed(world.room, "it still works")


async def _interrupted(setting: Setting) -> None:
    if setting.interrupt is None:
        return
    async with _world(setting) as world:
        one, two = await world.worker(), await world.worker()
        clients = [await world.client(rooms) for rooms in (one, two)]
        for round_ in range(3):
            for number in range(HISTORY // 2):
                assert one.publish(world.room, f"{round_}.{number}")
                if number == 3:
                    await setting.interrupt()
            await one.publish_confirmed(world.room, f"{round_}.last")
        sent = [f"{r}.{n}" for r in range(3) for n in [*range(HISTORY // 2), "last"]]
        for client in clients:
            await until(_reads(client, sent))
            assert client.missed == 0
        await until(lambda: len(one.present(world.room)) == 2)


ENGINE_CHECKS: dict[str, Callable[[Setting], Awaitable[None]]] = {
    "all members on all workers see one order, and no number twice (1)": _one_order,
    "a publish needs no member on its worker, and its position is the message's (4, 5)": (
        _no_member_here
    ),
    "a message keeps its kind and its key (1)": _latest,
    "a client resumes on any worker, and what is missing is counted exactly (2, 6)": _resume,
    "what is published before the engine is there is held and numbered in order (3, 7)": _held,
    "presence is that of all workers, and ends with a worker (11)": _presence,
    "a room that is left and joined again is in step (2, 12)": _leaving,
    "cancelled at any moment, it ends at once (10)": _cancelled,
    "after an interruption nothing is missing, within the history (2, 7)": _interrupted,
}
"""The checks, by the guarantee that each of them is about."""
