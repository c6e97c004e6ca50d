"""`RedisEngine`: one session with Redis after the other, as long as the application runs."""

from __future__ import annotations

import logging
import math
import random
import secrets
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, final

import anyio

from wsnursery._backend.backend import current_backend
from wsnursery._engine.payload import size_of
from wsnursery._errors import LocalProtocolError
from wsnursery.rooms import (
    EngineMisconfigured,
    EngineState,
    EngineStatistics,
    Outgoing,
    Position,
    Sink,
)
from wsnursery.rooms._engine import too_big
from wsnursery.rooms._hold import Hold

from ._address import Address, parse_address
from ._connection import RedisError, within
from ._session import Session, Settings

logger = logging.getLogger("wsnursery")

FIRST_PAUSE: Final = 0.05
"""Seconds before the first attempt to reconnect. The pause doubles after each attempt..."""

LONGEST_PAUSE: Final = 5.0
"""... up to this..."""

LASTING_SECONDS: Final = 5.0
"""... and is reset after a session of at least this many seconds, so that a connection that breaks
at once is not tried again and again without a pause."""


PERMANENT: Final = ("WRONGPASS", "NOAUTH", "NOPERM", "NOPROTO", "DENIED")
"""The codes of permanent refusals."""


@final
class RedisEngine:
    """Redis 7 or newer, or Valkey, as the engine of `wsnursery.rooms.SharedRooms`.

    It has one connection, for commands and for pushed messages. If the connection is lost, it
    reconnects by itself.

    Set ``maxmemory-policy noeviction`` in Redis, so that it does not drop the rooms' numbers. Use
    an append-only file or a replica if the history must survive a restart. A user with an ACL needs
    the commands that ``docs/shared-rooms.md`` lists.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``. Or an async function that returns
            such a URL, which is called before every connection, for a password that changes or to
            ask Sentinel for the primary.
        prefix: The prefix of the names of all keys and channels. Applications that share a Redis
            need different ones.
        ssl_context: The context for ``rediss://``, instead of the default one.
        history_ttl: Seconds for which Redis keeps a room that no worker uses: its numbers, its
            history, and the data by which a retry is recognised.
        lease: Seconds after which the people of a dead worker are removed.
        probe: Seconds between two probes. After three unanswered probes, the connection counts as
            lost.
        connect_timeout: Seconds for connecting and logging in.
        hold_messages: Messages that are held while they cannot be numbered.
        hold_bytes: The same limit in bytes.
        hold_seconds: Seconds for which a message is held before it is dropped.
        max_message: The largest message, in bytes. Redis handles one command at a time, so a large
            one delays all workers.

    Raises:
        ValueError: The URL is not valid, or a limit is not positive.
    """

    def __init__(
        self,
        url: str | Callable[[], Awaitable[str]],
        *,
        prefix: str = "wsnursery:",
        ssl_context: ssl.SSLContext | None = None,
        history_ttl: float = 3600.0,
        lease: float = 15.0,
        probe: float = 5.0,
        connect_timeout: float = 5.0,
        hold_messages: int = 10_000,
        hold_bytes: int = 8 * 1024 * 1024,
        hold_seconds: float = 30.0,
        max_message: int = 1024 * 1024,
    ) -> None:
        positive = {
            "history_ttl": history_ttl,
            "lease": lease,
            "probe": probe,
            "connect_timeout": connect_timeout,
            "hold_messages": hold_messages,
            "hold_bytes": hold_bytes,
            "hold_seconds": hold_seconds,
            "max_message": max_message,
        }
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} must be more than 0, got {value}")
        self._locate = url if callable(url) else _fixed(parse_address(url))
        self._ssl_context = ssl_context
        self._settings = Settings(prefix, max(1, round(history_ttl)), lease, probe, connect_timeout)
        self._max_message = max_message
        self._hold = Hold(hold_messages, hold_bytes, hold_seconds)
        # One id for all sessions, so that Redis recognises a retry after a reconnect.
        self._publisher_id = secrets.token_hex(8)
        self._is_running = False
        self._session: Session | None = None
        self._last_worker = ""
        self._sessions = 0
        """The number of sessions that became live and have ended."""
        self._began = math.inf
        """When the last session began."""
        self._complaint = ""

    def __repr__(self) -> str:
        return f"<RedisEngine: {self.state}, {len(self._hold)} held>"

    @property
    def state(self) -> EngineState:
        """See `wsnursery.rooms.SharedRooms.state`."""
        if self._session is not None and self._session.is_live:
            return "live"
        return "away" if self._sessions else "connecting"

    def statistics(self) -> EngineStatistics:
        """A snapshot of the counters. Not a checkpoint."""
        hold, session = self._hold, self._session
        return EngineStatistics(
            sessions=self._sessions + (self.state == "live"),
            held=len(hold),
            held_bytes=hold.bytes,
            refused=hold.refused,
            round_trip=None if session is None else session.upkeep.round_trip,
        )

    async def run(self, sink: Sink) -> None:
        """Run one session with Redis after the other. `SharedRooms.run` calls it.

        Raises:
            EngineMisconfigured: Redis can never be used with these settings. It is raised only
                before the first session; later, every failure counts as an outage.
            Exception: What the function that returns the URL raised, except an `OSError`.
            LocalProtocolError: It is already running.

        *Checkpoint*: yes. *Cancellation*: takes a limited time, whatever Redis does.
        """
        if self._is_running:
            raise LocalProtocolError(
                "this engine is running already: make one RedisEngine for each SharedRooms"
            )
        self._is_running = True
        failure: Exception | None = None
        try:
            self._hold.start_clock(current_backend().now)
            async with anyio.create_task_group() as group:
                group.start_soon(self._hold.give_up_late)
                try:
                    await self._come_back(sink)
                except Exception as exc:  # noqa: BLE001 - it must leave bare, not in a group
                    failure = exc
                group.cancel_scope.cancel()
        finally:
            self._is_running = False
        assert failure is not None, "only a failure ends the sessions"
        raise failure

    async def _come_back(self, sink: Sink) -> None:
        now, pause = current_backend().now, FIRST_PAUSE
        while True:
            try:
                await self._have_session(sink)
            except (OSError, RedisError, EngineMisconfigured) as exc:
                # After the first session, a changed password or rule counts as an outage.
                if not self._sessions and isinstance(exc, EngineMisconfigured):
                    raise
                if not self._sessions and _is_permanent(exc):
                    raise EngineMisconfigured(f"Redis refuses the connection: {exc}") from exc
                if now() - self._began >= LASTING_SECONDS:
                    pause, self._complaint = FIRST_PAUSE, ""
                self._complain(exc)
            # A random pause, so that not all workers reconnect at the same moment.
            await anyio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - not cryptography
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _have_session(self, sink: Sink) -> None:
        self._began = math.inf
        with within(self._settings.connect_timeout):
            address = await self._address()
            stream = await address.connect(self._ssl_context)
        session = Session(
            stream,
            address,
            settings=self._settings,
            sink=sink,
            hold=self._hold,
            publisher_id=self._publisher_id,
        )
        try:
            await session.run(self._begin, self._last_worker)
        finally:
            if self._session is session:
                self._last_worker = session.worker
                self._sessions += session.is_live
                session.is_live = False
                self._session = None
                sink.state_changed()
            await anyio.aclose_forcefully(stream)  # because a graceful close waits for Redis

    async def _address(self) -> Address:
        located = await self._locate()
        if isinstance(located, Address):
            return located
        try:
            return parse_address(located)
        except ValueError as exc:
            raise EngineMisconfigured(str(exc)) from exc

    def _begin(self, session: Session) -> None:
        self._session = session
        self._began = current_backend().now()

    def _complain(self, exc: Exception) -> None:
        if str(exc) != self._complaint:  # log the same reason only once in an outage
            self._complaint = str(exc)
            logger.warning("the rooms' Redis is away, and is tried again: %s", exc)

    # ------------------------------------------------------------------- calls of SharedRooms

    def publish(self, outgoing: Outgoing) -> bool:
        """Take a message; see `wsnursery.rooms.Engine.publish`."""
        size = size_of(outgoing.message)
        if size > self._max_message:
            raise too_big(size, self._max_message)
        return self._hold.put(outgoing)

    def enter(self, room: str, position: Position | None) -> None:
        """Follow a room; see `wsnursery.rooms.Engine.enter`."""
        if self._session is not None:
            self._session.follower.enter(room, position)

    def leave(self, room: str) -> None:
        """Stop following a room; see `wsnursery.rooms.Engine.leave`."""
        if self._session is not None:
            self._session.follower.leave(room)

    def announce(self, room: str, person: str, metadata: Any) -> None:
        """Announce a person; see `wsnursery.rooms.Engine.announce`."""
        if self._session is not None:
            self._session.announcements.announce(room, person, metadata)

    def retract(self, room: str, person: str) -> None:
        """Retract a person; see `wsnursery.rooms.Engine.retract`."""
        if self._session is not None:
            self._session.announcements.retract(room, person)


def _is_permanent(exc: Exception) -> bool:
    """Return whether this refusal is permanent."""
    if not isinstance(exc, RedisError):
        return False
    sentence = str(exc)
    return exc.code in PERMANENT or "DB index" in sentence or "unknown command" in sentence


def _fixed(address: Address) -> Callable[[], Awaitable[Address]]:
    async def locate() -> Address:
        return address

    return locate
