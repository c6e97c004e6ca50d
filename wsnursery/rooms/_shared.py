"""`SharedRooms`: rooms by name, whose members may be on several workers and machines."""

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
    """How often the engine has come back."""
    resyncs: int
    """Snapshots of rooms that were taken."""
    gaps: int
    """How often a room has lost messages on the way to this worker, as far as is known."""
    held: int
    """Messages that were published here and are not numbered yet."""
    refused: int
    """Messages that were not taken because the bounds were full, or given up after too long."""
    round_trip: float | None
    """Seconds that the engine's last probe took; `None` before the first."""
    rooms: int
    """Rooms that this worker follows."""
    not_live: int
    """Those of them that are not synchronized with the engine."""


@final
class SharedRooms:
    """Rooms by name, shared by all workers whose engines share their data.

    They run for as long as the application lives::

        rooms = SharedRooms(RedisEngine("redis://127.0.0.1"), history=100)

        @websocket_app(lifespan=rooms.running)
        async def app(ws: WebSocket) -> None: ...

    The engine numbers the messages, so that all members on all workers see one order, and a client
    can resume on any worker with its `Position`. While the engine is away, members stay connected
    and what is published is held; nothing is lost without `Member.missed` counting it.

    Its methods never wait for the network, except those that are coroutines. Like a `Room`, it
    belongs to one event loop.

    Args:
        engine: `wsnursery.redis.RedisEngine`, or `MemoryEngine` for one worker and for tests.
        history: Messages of each room that the engine and this worker keep. The same on every
            worker.
        history_bytes: The same bound in bytes.
        stamp: As for `wsnursery.Room`; every worker calls it once per message.
        linger: Seconds for which a room without members here is still followed, so that a
            client that comes back soon finds it in step.
        codec: Writes what `publish_json` is given; see `Codec`. The default is the standard
            library's.

    Raises:
        ValueError: A bound is negative.
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
            task_status: Told at once, whether the engine is there or not: the application starts
                without it.

        Raises:
            EngineMisconfigured: The engine can never be reached with these settings. An outage
                never ends this call.
            LocalProtocolError: It is running already.

        *Checkpoint*: yes. *Cancellation*: ends it in bounded time, whatever the engine does.
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
                except Exception as exc:  # noqa: BLE001 - it is to leave bare, not in a group
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
        """Call `run` in the background while the block lasts: for ``websocket_app(lifespan=...)``.

        Entering does not wait for the engine, and leaving cancels `run`.

        Raises:
            ExceptionGroup: What `run` or the block has raised.

        *Checkpoint*: yes.
        """
        async with anyio.create_task_group() as group:
            await group.start(self.run)
            yield
            group.cancel_scope.cancel()

    @property
    def state(self) -> EngineState:
        """``"connecting"`` at first, then ``"live"``, or ``"away"`` while the engine is."""
        return self._engine.state

    async def wait_live(self) -> None:
        """Wait until `state` is ``"live"``: for a readiness probe.

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
        """Be in the room of a name while the block lasts. As `Room.joined` otherwise.

        While the room is not synchronized with the engine, the member waits: the ``replay`` comes
        as soon as it is, and `Member.position` is `None` until then.

        Args:
            name: The room.
            ws: The connection.
            overflow: As for `Room.joined`.
            code: As for `Room.joined`.
            metadata: What `present` and `presence` show on all workers: anything that JSON has.
            replay: As for `Room.joined`.
            after: As for `Room.joined`. It means something on every worker.

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
        """Join and leave rooms as the client asks; see `Memberships`.

        Args:
            ws: The connection.
            limit: Rooms that it may be in at a time.
            **options: The arguments of `joined` for all of them.
        """
        return Memberships(self, ws, limit=limit, **options)

    def enter(self, member: Member, request: JoinRequest) -> None:
        """Take a member in; the block of `joined` does."""
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
        """Let a member go; the block of `joined` does."""
        room = self._followed.get(member.room)
        assert room is not None, "it has this member"
        room.leave(member)
        self._followed.let_go_if_unneeded(room)

    def present(self, name: str) -> tuple[Person, ...]:
        """Who is in a room, on all workers, in the order in which this worker heard of them.

        Empty if the room has no members and no `presence` block on this worker.
        """
        room = self._followed.get(name)
        return () if room is None else room.people

    @contextmanager
    def presence(self, name: str) -> Generator[Presence[Person]]:
        """Watch who comes and goes, on all workers, while the block lasts.

        As `Room.presence` otherwise: `present` and the changes fit together. The room is followed
        for that long.
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

        It never waits. While the engine is away, the message is held, within the engine's bounds.

        Args:
            name: The room.
            message: As for `WebSocket.send`.
            key: As for `Room.publish`.

        Returns:
            Whether it was taken. If so, it is numbered once, after all that was published here
            before; or it is given up when it has been held for too long, which
            ``statistics().refused`` counts.

        Raises:
            TypeError, ValueError: As for `WebSocket.send`, or the name cannot be written as UTF-8.
            MessageTooBig: It is larger than the engine carries.
            RuntimeError: Called from another thread or event loop. Nothing was published.

        *Checkpoint*: no.
        """
        return self._publish(Outgoing(name, payload(message), key))

    def publish_json(self, name: str, obj: Any, *, key: str | None = None) -> bool:
        """Publish an object as JSON text; as `publish` otherwise."""
        return self.publish(name, encoded(self._codec, obj), key=key)

    async def publish_confirmed(
        self, name: str, message: str | bytes | bytearray | memoryview, *, key: str | None = None
    ) -> Position:
        """Publish, and wait until the engine has numbered the message.

        That does not mean that any member has got it, nor that it survives when the engine loses
        its data. Arguments and errors are those of `publish`.

        Raises:
            EngineAway: The bounds are full, or it has been held for too long.

        *Checkpoint*: always. *Cancellation*: the message may still be numbered.
        """
        await anyio.lowlevel.checkpoint()
        confirmation = _Confirmation()
        if not self._publish(Outgoing(name, payload(message), key, confirmation.settle)):
            raise EngineAway(
                "too many messages are held for the engine of the shared rooms: publish less, or "
                "raise its bounds"
            )
        return await confirmation.get()

    def _publish(self, outgoing: Outgoing) -> bool:
        payload(outgoing.room)
        self._check_home()
        return self._engine.publish(outgoing)

    # --------------------------------------------------------------------------------- inside

    def _settle(self) -> None:
        if not self._is_settled:
            self._home.settle()
            self._is_settled = True

    def _check_home(self) -> None:
        if self._is_settled:
            self._home.check()


class _Confirmation:
    """What becomes of one confirmed publish."""

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
