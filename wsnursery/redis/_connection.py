"""One connection to Redis: RESP3, parsed by hiredis, over any stream of anyio.

Replies and pushes of one connection have one order. hiredis only parses; the I/O is in this module.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import anyio

try:
    import hiredis
except ImportError as _missing:
    raise ImportError("wsnursery.redis needs hiredis: pip install 'wsnursery[redis]'") from _missing

if TYPE_CHECKING:
    from anyio.abc import ByteStream

Reply: TypeAlias = Any
"""A value of RESP3: bytes, int, list, dict, None, or a `RedisError`."""

Argument: TypeAlias = str | bytes | float
"""A part of a command."""

READ_BYTES = 64 * 1024
"""Bytes per read. The parser holds the part of an incomplete message in addition to this."""

LAST_WORDS_SECONDS: Final = 1.0
"""Seconds for reading what Redis has sent before it closed. It has arrived by then."""

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

    It does not read ahead: a slow worker makes Redis wait, until Redis ends the connection.

    Args:
        stream: The connection.
        on_push: Called with each push, in order with the replies. It must not wait or raise.
    """

    def __init__(self, stream: ByteStream, on_push: Callable[[list[Any]], None]) -> None:
        self._stream = stream
        self._on_push = on_push
        self._parser = hiredis.Reader(protocolError=ConnectionLost, replyError=RedisError)
        self._answered: deque[Callable[[Reply], None]] = deque()
        """The callbacks of the expected replies."""
        self._outgoing = bytearray()
        self._has_outgoing = anyio.Event()
        self.refill: Callable[[], None] | None = None
        """Called before a write, to send what waits elsewhere until it can be written."""
        self._refusal: RedisError | None = None
        """What was read last, if it was a refusal."""

    def send(self, *command: Argument) -> None:
        """Send a command that has no reply: SUBSCRIBE and UNSUBSCRIBE, in RESP3. Never waits."""
        self._outgoing += _pack(command)
        self._has_outgoing.set()

    def wake(self) -> None:
        """Call `refill` soon, and write what it sends."""
        self._has_outgoing.set()

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

    async def read(self) -> None:
        """Read replies and pushes until the connection is lost.

        Raises:
            RedisError: Redis has refused a command and then closed the connection.
            ConnectionLost: The connection is lost for another reason.
        """
        try:
            while True:
                self._parser.feed(await self._stream.receive(READ_BYTES))
                while (message := self._parser.gets()) is not False:
                    self._take(message)
        except anyio.EndOfStream:
            raise self._refusal or ConnectionLost("Redis has closed the connection") from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise self._refusal or _broken(exc) from exc

    def _take(self, message: Reply) -> None:
        self._refusal = message if isinstance(message, RedisError) else None
        if isinstance(message, hiredis.PushNotification):
            self._on_push(message)
        elif self._answered:
            self._answered.popleft()(message)
        else:
            raise ConnectionLost(f"Redis says: {message}")

    async def write(self) -> None:
        """Write commands until the connection is lost.

        Redis may send the reason before it closes, for instance that it has too many clients. A
        command that is sent after that cannot be written, but the reason can still be read. So the
        reader has some time to find it.

        Raises:
            ConnectionLost: Always, in the end.
        """
        try:
            while True:
                self._has_outgoing = anyio.Event()
                if self.refill is not None:
                    self.refill()
                if self._outgoing:
                    data, self._outgoing = bytes(self._outgoing), bytearray()
                    await self._stream.send(data)
                else:
                    await self._has_outgoing.wait()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            await anyio.sleep(LAST_WORDS_SECONDS)
            raise _broken(exc) from exc


def _broken(exc: Exception) -> ConnectionLost:
    return ConnectionLost(f"the connection to Redis is broken: {exc.__cause__ or exc}")
