"""`SharedRooms`: rooms by name, with members on several workers and machines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack, final

import anyio
import anyio.lowlevel

from wsnursery._backend.home import Home
from wsnursery._codec import STANDARD, Codec, encoded
from wsnursery._codes import CloseCode
from wsnursery._engine.payload import payload
from wsnursery._engine.websocket import WebSocket
from wsnursery._errors import LocalProtocolError

from ._engine import Engine, EngineAway, EngineState, Outgoing
from ._fanout import JoinRequest
from ._followed import FollowedRooms
from ._member import JoinOptions, Member, Overflow, check_replay, make_member
from ._membership import Membership
from ._memberships import DEFAULT_LIMIT, Memberships
from ._position import Position, Stamp
from ._presence import Presence
from ._shared_room import Person

if TYPE_CHECKING:
    from anyio.abc import TaskStatus


@dataclass(frozen=True, slots=True)
class SharedStatistics:
    """A snapshot of the counters of shared rooms, in this worker."""

    reconnects: int
    """The number of times that the engine has reconnected."""
    resyncs: int
    """The number of snapshots of rooms that were received."""
    gaps: int
    """The number of known gaps: times that a room has lost messages on the way to this worker."""
    held: int
    """Messages that were published here and have not been numbered yet."""
    refused: int
    """Messages that were refused because the limits were reached, or dropped after too long."""
    round_trip: float | None
    """The round-trip time of the engine's last probe, in seconds; `None` before the first."""
    rooms: int
    """The number of rooms that this worker follows."""
    not_live: int
    """The number of those rooms that are not synchronized with the engine."""


@final
class SharedRooms:
    """Rooms by name, shared by all workers whose engines share their data.

    They run as long as the application::

        rooms = SharedRooms(RedisEngine("redis://127.0.0.1"), history=100)

        @websocket_app(lifespan=rooms.running)
        async def app(ws: WebSocket) -> None: ...

    The engine numbers the messages, so all members on all workers see one order, and a client can
    resume on any worker with its `Position`. While the engine is away, members stay connected and
    published messages are held. `Member.missed` counts every message that a member does not get.

    Methods that are not coroutines never wait for the network. Like a `Room`, it belongs to one
    event loop.

    Args:
        engine: `wsnursery.redis.RedisEngine`, or `MemoryEngine` for one worker and for tests.
        history: Messages of each room that the engine and this worker keep. It must be the same on
            every worker.
        history_bytes: The same limit in bytes.
        stamp: As for `wsnursery.Room`. Every worker calls it once per message.
        linger: Seconds for which a room without members here is still followed, so that the room
            is still synchronized for a client that soon returns.
        codec: Writes the objects of `publish_json`; see `Codec`. The default uses the standard
            library.

    Raises:
        ValueError: A limit is negative.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        history: int = 0,
        history_bytes: int = 1024 * 1024,
        stamp: Stamp | None = None,
        linger: float = 5.0,
        codec: Codec = STANDARD,
    ) -> None:
        self._engine = engine
        self._codec = codec
        self._followed = FollowedRooms(engine, history, history_bytes, stamp, linger)
        self._home = Home(
            "a room belongs to the thread and the event loop of its members",
            "run_sync(rooms.publish, name, message)",
        )
        self._is_settled = False
        self._is_running = False

    def __repr__(self) -> str:
        return f"<SharedRooms: {self.state}, {len(self._followed)} rooms>"

    # ------------------------------------------------------------------------------ the engine

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Exchange messages with the other workers, until cancelled.

        Args:
            task_status: Its ``started`` is called at once, because the application also starts
                while the engine is not available.

        Raises:
            EngineMisconfigured: The engine can never be reached with these settings. An outage
                never ends this call.
            LocalProtocolError: It is running already.

        *Checkpoint*: yes. *Cancellation*: takes a limited time, whatever the engine does.
        """
        if self._is_running:
            raise LocalProtocolError("these shared rooms are running already: call run() once")
        self._settle()
        self._is_running = True
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._followed.let_go)
                task_status.started()
                try:
                    await self._engine.run(self._followed)
                except Exception as exc:  # noqa: BLE001 - it must leave bare, not in a group
                    failure = exc
                group.cancel_scope.cancel()
        finally:
            self._is_running = False
            self._followed.lose()
        if failure is not None:
            try:
                raise failure
            finally:
                failure = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Call `run` in the background of a block, for ``websocket_app(lifespan=...)``.

        Entering does not wait for the engine, and leaving cancels `run`.

        Raises:
            ExceptionGroup: It has the exceptions of `run` and of the block.

        *Checkpoint*: yes.
        """
        async with anyio.create_task_group() as group:
            await group.start(self.run)
            yield
            group.cancel_scope.cancel()

    @property
    def state(self) -> EngineState:
        """``"connecting"`` at first, then ``"live"``, or ``"away"`` while the engine is away."""
        return self._engine.state

    async def wait_live(self) -> None:
        """Wait until `state` is ``"live"``, for a readiness probe.

        *Checkpoint*: always.
        """
        await anyio.lowlevel.checkpoint()
        await self._followed.until_live()

    def statistics(self) -> SharedStatistics:
        """A snapshot of the counters. Not a checkpoint."""
        engine, followed = self._engine.statistics(), self._followed
        return SharedStatistics(
            reconnects=max(0, engine.sessions - 1),
            resyncs=followed.resyncs,
            gaps=followed.gaps,
            held=engine.held,
            refused=engine.refused,
            round_trip=engine.round_trip,
            rooms=len(followed),
            not_live=sum(not room.is_synchronized for room in followed),
        )

    # ------------------------------------------------------------------------------ membership

    def joined(
        self,
        name: str,
        ws: WebSocket,
        *,
        overflow: Overflow = "disconnect",
        code: int = CloseCode.TRY_AGAIN_LATER,
        metadata: Any = None,
        replay: int = 0,
        after: Position | None = None,
    ) -> AbstractContextManager[Member]:
        """Join the room of a name for the duration of a block. As `Room.joined` otherwise.

        While the room is not synchronized with the engine, the member waits: the ``replay`` comes
        after the synchronization, and `Member.position` is `None` until then. It also waits if this
        worker does not know the position ``after``, for instance because the worker lags behind the
        one that the client comes from. Then the engine is asked first.

        Args:
            name: The room.
            ws: The connection.
            overflow: As for `Room.joined`.
            code: As for `Room.joined`.
            metadata: `present` and `presence` show it on all workers. It must be JSON.
            replay: As for `Room.joined`.
            after: As for `Room.joined`. It is valid on every worker.

        Raises:
            TypeError, ValueError: The metadata cannot be written as JSON, the name not as UTF-8, or
                as for `Room.joined`.
            LocalProtocolError, WebSocketDisconnected, anyio.ClosedResourceError, RuntimeError: As
                for `Room.joined`.

        *Checkpoint*: no, neither entering nor leaving.
        """
        payload(name)
        encoded(STANDARD, metadata)
        check_replay(replay, self._followed.history)
        member = make_member(name, ws, overflow=overflow, code=code, metadata=metadata)
        return Membership(self, member, JoinRequest(replay, after))

    def memberships(
        self, ws: WebSocket, *, limit: int = DEFAULT_LIMIT, **options: Unpack[JoinOptions]
    ) -> Memberships:
        """Return a block that joins and leaves rooms; see `Memberships`.

        Args:
            ws: The connection.
            limit: The most rooms at a time.
            **options: The arguments of `joined` for all rooms.
        """
        return Memberships(self, ws, limit=limit, **options)

    def enter(self, member: Member, request: JoinRequest) -> None:
        """Add a member. The block of `joined` calls it."""
        self._check_home()
        self._settle()
        room = self._followed.get(member.room)
        if room is None:
            member.check_can_join()
            room = self._followed.follow(member.room)
        else:
            room.check_can_join(member)
        room.join(member, request)

    def leave(self, member: Member) -> None:
        """Remove a member. The block of `joined` calls it."""
        room = self._followed.get(member.room)
        assert room is not None, "it has this member"
        room.leave(member)
        self._followed.let_go_if_unneeded(room)

    def present(self, name: str) -> tuple[Person, ...]:
        """Return the people in a room, on all workers, in the order in which this worker saw them.

        It is empty if the room has no members and no `presence` block on this worker.
        """
        room = self._followed.get(name)
        return () if room is None else room.people

    @contextmanager
    def presence(self, name: str) -> Generator[Presence[Person]]:
        """Watch the people who join and leave, on all workers, during a block.

        As `Room.presence` otherwise: `present` and the changes are consistent. The room is followed
        during the block.
        """
        self._check_home()
        self._settle()
        payload(name)
        room = self._followed.get(name) or self._followed.follow(name)
        try:
            with room.watchers.watching() as changes:
                yield changes
        finally:
            self._followed.let_go_if_unneeded(room)

    # ------------------------------------------------------------------------------ publishing

    def publish(
        self, name: str, message: str | bytes | bytearray | memoryview, *, key: str | None = None
    ) -> bool:
        """Publish to the members of a room on all workers. It needs no member on this one.

        It never waits. While the engine is away, the message is held, within the engine's limits.

        Args:
            name: The room.
            message: As for `WebSocket.send`.
            key: As for `Room.publish`.

        Returns:
            Whether it was taken. A message that was taken is numbered once, after all messages that
            were published here before. If it has been held for too long, it is dropped, and counted
            by ``statistics().refused``.

        Raises:
            TypeError, ValueError: As for `WebSocket.send`, or the name cannot be written as UTF-8.
            MessageTooBig: It is larger than the engine carries.
            RuntimeError: Called from another thread or event loop. Nothing was published.

        *Checkpoint*: no.
        """
        return self._publish(Outgoing(name, payload(message), key))

    def publish_json(self, name: str, obj: Any, *, key: str | None = None) -> bool:
        """Publish an object as JSON text. As `publish` otherwise."""
        return self.publish(name, encoded(self._codec, obj), key=key)

    async def publish_confirmed(
        self, name: str, message: str | bytes | bytearray | memoryview, *, key: str | None = None
    ) -> Position:
        """Publish, and wait until the engine has numbered the message.

        This does not guarantee that a member has received it, or that it survives a loss of the
        engine's data. Arguments and errors are those of `publish`.

        Raises:
            EngineAway: The limits are reached, or it has been held for too long.

        *Checkpoint*: always. *Cancellation*: the message may still be numbered.
        """
        await anyio.lowlevel.checkpoint()
        confirmation = _Confirmation()
        if not self._publish(Outgoing(name, payload(message), key, confirmation.settle)):
            raise EngineAway(
                "too many messages are held for the engine of the shared rooms: publish less, or "
                "raise its limits"
            )
        return await confirmation.get()

    def _publish(self, outgoing: Outgoing) -> bool:
        payload(outgoing.room)
        self._check_home()
        return self._engine.publish(outgoing)

    # --------------------------------------------------------------------------------- internals

    def _settle(self) -> None:
        if not self._is_settled:
            self._home.settle()
            self._is_settled = True

    def _check_home(self) -> None:
        if self._is_settled:
            self._home.check()


class _Confirmation:
    """The outcome of one confirmed publish."""

    def __init__(self) -> None:
        self._outcome: Position | Exception | None = None
        self._is_there = anyio.Event()

    def settle(self, outcome: Position | Exception) -> None:
        self._outcome = outcome
        self._is_there.set()

    async def get(self) -> Position:
        await self._is_there.wait()
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Position):
            return outcome
        assert outcome is not None, "it has been settled"
        raise outcome
