"""One connection to Redis: RESP3, parsed by hiredis. Replies and pushes have one order.

It does no I/O, which is in `_stream_transfer` and `_socket_transfer`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import anyio

try:
    import hiredis
except ImportError as _missing:
    raise ImportError("wsnursery.redis needs hiredis: pip install 'wsnursery[redis]'") from _missing

Reply: TypeAlias = Any
"""A value of RESP3: bytes, int, list, dict, None, or a `RedisError`."""

Argument: TypeAlias = str | bytes | float
"""A part of a command."""

_pack: Callable[[tuple[Argument, ...]], bytes] = cast(
    "Any",
    hiredis.pack_command,  # pyright: ignore[reportUnknownMemberType]
)


class ConnectionLost(OSError):
    """The connection to Redis is lost."""


@contextmanager
def within(seconds: float) -> Generator[None]:
    """Connect or log in within a number of seconds.

    Raises:
        ConnectionLost: It has taken longer.
    """
    with anyio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise ConnectionLost(f"Redis has not answered within {seconds:g} s (connect_timeout)")


class RedisError(Exception):
    """Redis has refused a command. ``str()`` is its error message, which begins with the code."""

    @property
    def code(self) -> str:
        """The first word, such as ``OOM`` or ``READONLY``."""
        return str(self).partition(" ")[0]


class RedisConnection:
    """Sends commands and receives their replies in the same order, with pushes in between.

    Args:
        on_push: Called with each push, in order with the replies. It must not wait or raise.
    """

    def __init__(self, on_push: Callable[[list[Any]], None]) -> None:
        self._on_push = on_push
        self._parser = hiredis.Reader(protocolError=ConnectionLost, replyError=RedisError)
        self._answered: deque[Callable[[Reply], None]] = deque()
        """The callbacks of the expected replies."""
        self._outgoing = bytearray()
        self.refill: Callable[[], None] | None = None
        """Called before a write, to send what waits elsewhere until it can be written."""
        self.wake: Callable[[], None] = _nothing
        """Called when there is something to write. Calls of one turn are written together."""
        self._refusal: RedisError | None = None
        """What was read last, if it was a refusal."""

    def send(self, *command: Argument) -> None:
        """Send a command that has no reply: SUBSCRIBE and UNSUBSCRIBE, in RESP3. Never waits."""
        self._outgoing += _pack(command)
        self.wake()

    def request(self, *command: Argument, then: Callable[[Reply], None]) -> None:
        """Send a command. Never waits.

        Args:
            *command: The command and its arguments.
            then: Called with the reply, in order with the pushes. It must not wait or raise. It is
                not called if the connection is lost first.
        """
        self._answered.append(then)
        self.send(*command)

    async def call(self, *command: Argument) -> Reply:
        """Send a command and wait for its reply.

        Raises:
            RedisError: Redis has refused it.
        """
        replies: list[Reply] = []
        is_there = anyio.Event()

        def keep(reply: Reply) -> None:
            replies.append(reply)
            is_there.set()

        self.request(*command, then=keep)
        await is_there.wait()
        if isinstance(replies[0], RedisError):
            raise replies[0]
        return replies[0]

    def receive(self, data: bytes) -> None:
        """Handle replies and pushes.

        Raises:
            ConnectionLost: The data are not from Redis.
        """
        self._parser.feed(data)
        while (message := self._parser.gets()) is not False:
            self._take(message)

    def _take(self, message: Reply) -> None:
        self._refusal = message if isinstance(message, RedisError) else None
        if isinstance(message, hiredis.PushNotification):
            self._on_push(message)
        elif self._answered:
            self._answered.popleft()(message)
        else:
            raise ConnectionLost(f"Redis says: {message}")

    def outgoing(self) -> bytes:
        """Return the commands to write now, and forget them."""
        if self.refill is not None:
            self.refill()
        data, self._outgoing = bytes(self._outgoing), bytearray()
        return data

    def reason_for_end(self, cause: Exception | None) -> OSError | RedisError:
        """Return why the connection is lost.

        Args:
            cause: The error of a read or of a write; `None` if Redis has closed the connection.
        """
        if self._refusal is not None:
            return self._refusal
        if cause is None:
            return ConnectionLost("Redis has closed the connection")
        return ConnectionLost(f"the connection to Redis is broken: {cause}")


def _nothing() -> None:
    """Nothing is written before the transfer has begun."""
