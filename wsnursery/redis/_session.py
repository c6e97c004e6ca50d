"""One session with Redis: from the first command to the loss of the connection."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from wsnursery._backend.backend import current_backend
from wsnursery.rooms import EngineMisconfigured, Sink
from wsnursery.rooms._hold import Hold

from ._address import Address
from ._commands import Commands
from ._connection import ConnectionLost, RedisConnection, RedisError, within
from ._following import Follower
from ._presence import Announcements
from ._publishing import Publisher
from ._scripts import Keys
from ._transfer import transfer_over
from ._upkeep import Upkeep

if TYPE_CHECKING:
    from anyio.abc import ByteStream, TaskGroup

OLDEST_VERSION: Final = 7
"""The first major version whose scripts may write after they have read the clock or INFO."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the user; see `RedisEngine`."""

    prefix: str
    history_ttl: int
    lease: float
    probe: float
    connect_timeout: float


class Session:
    """The work over one connection.

    Args:
        stream: The connection. The caller closes it.
        address: Has the password and the database.
        settings: See `RedisEngine`.
        sink: Receives the messages.
        hold: Has the messages that must be numbered.
        publisher_id: See `Publisher`.
    """

    def __init__(
        self,
        stream: ByteStream,
        address: Address,
        *,
        settings: Settings,
        sink: Sink,
        hold: Hold,
        publisher_id: str,
    ) -> None:
        self._address = address
        self._settings = settings
        self._sink = sink
        self._scope = anyio.CancelScope()
        self._failure: Exception | None = None
        self.worker: str = secrets.token_hex(8)
        """The name under which its people are present."""
        self.is_live: bool = False
        """Whether all rooms of the beginning are synchronized."""
        ttl = settings.history_ttl
        self._connection = RedisConnection(self._on_push)
        self._transfer = transfer_over(stream, self._connection)
        # Channels are not separated by database, so the number must be part of the name.
        database = f"{address.database}:" if address.database else ""
        commands = Commands(self._connection, Keys(settings.prefix + database), self.fail)
        self._commands = commands
        self.follower = Follower(commands, sink, ttl, settings.lease)
        self.announcements = Announcements(commands, self.worker, ttl)
        self._publisher = Publisher(commands, hold, publisher_id, sink, ttl)
        self.upkeep = Upkeep(
            commands,
            self.follower,
            self.announcements,
            worker=self.worker,
            lease=settings.lease,
            probe=settings.probe,
            ttl=ttl,
            now=current_backend().now,
        )
        self._probe_channel = self.upkeep.probe_channel.encode()

    async def run(self, began: Callable[[Session], None], retired: str) -> None:
        """Run until the connection is lost.

        Args:
            began: Called when rooms may be entered.
            retired: The name of the previous session, whose people are removed unless they are
                announced again.

        Raises:
            OSError, RedisError: The connection is lost, or Redis has refused a command.
            EngineMisconfigured: The refusal is permanent.
        """
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    await self._guarded(partial(self._work, group, began, retired))
                    await anyio.sleep_forever()
        finally:
            self._publisher.stop()
            self._transfer.close()
        failure, self._failure = self._failure, None
        assert failure is not None, "only a failure cancels this scope"
        raise failure

    def fail(self, failure: Exception) -> None:
        """End the session. The first failure counts."""
        self._failure = self._failure or failure
        self._scope.cancel()

    async def _guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except (OSError, RedisError, EngineMisconfigured) as exc:
            self.fail(exc)

    async def _work(self, group: TaskGroup, began: Callable[[Session], None], retired: str) -> None:
        def start(*tasks: Callable[[], Awaitable[None]]) -> None:
            for task in tasks:
                group.start_soon(self._guarded, task)

        start(*self._transfer.tasks)
        with within(self._settings.connect_timeout):
            await self._greet()
            await self._commands.load()
        self.upkeep.subscribe()
        start(self.upkeep.run, self.upkeep.watch_probes, self.upkeep.renew_rooms)
        start(self.announcements.run)
        began(self)
        self._sink.connected()
        await self.follower.synchronize()
        # By now, all people who are still here have been announced under the new name.
        self.announcements.flush()
        self.upkeep.beat(retired)
        start(self.follower.run)
        # Publishing starts last, so that the sink gets the position of every message after its
        # snapshot.
        self._publisher.start()
        self.is_live = True
        self._sink.state_changed()

    async def _greet(self) -> None:
        address = self._address
        login = [] if address.password is None else ["AUTH", address.user, address.password]
        server = await self._connection.call("HELLO", "3", *login)
        if address.database:
            await self._connection.call("SELECT", address.database)
        version = server[b"version"].decode()
        if int(version.split(".")[0]) < OLDEST_VERSION:
            raise EngineMisconfigured(
                f"Redis at {address} must be version {OLDEST_VERSION} or newer, got {version}"
            )
        if server[b"role"] != b"master":
            raise ConnectionLost(f"{address} is a replica")

    def _on_push(self, push: list[Any]) -> None:
        if push[0] != b"message":
            return  # a confirmation of SUBSCRIBE or UNSUBSCRIBE
        channel, data = push[1], push[2]
        if channel == self._probe_channel:
            self.upkeep.note_probe()
        else:
            self.follower.on_push(channel, data)
