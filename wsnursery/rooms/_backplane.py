"""The seam through which rooms of the same name in several processes exchange their messages.

A backplane carries envelopes, at most once and without a promise. What it loses can be noticed:
every room numbers what it puts on the backplane, and a backplane that knows of trouble (it had to
reconnect, say) tells its subscribers of a `Gap`. So a slow or broken backplane costs messages
between processes, never the waiting of a publisher.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias, final

import anyio
import anyio.lowlevel

from wsnursery._engine.inbox import size_of
from wsnursery._types import Message

OUTGOING_MESSAGES = 1024
"""Messages of one room that may wait for the backplane: a second of trouble at a lively pace."""

OUTGOING_BYTES = 1024 * 1024
"""The same bound in bytes; one message may exceed it."""

MAX_ORIGINS = 1024
"""Senders whose last number is remembered. Every restart of a worker is a new one, so the one
that has been silent the longest is forgotten."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message on its way between processes: four plain values, easy to encode."""

    origin: str
    """Who put it on the backplane: unique to one room in one process."""
    number: int
    """Its place among the messages of that origin: the first is 1."""
    message: Message
    key: str | None = None
    """The key of `Room.publish`."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages may be missing here: the backplane had trouble and cannot say more."""


Incoming: TypeAlias = Envelope | Gap


class Backplane(Protocol):
    """What a backplane has to do. Any object with these two methods is one.

    Its promise is little: each envelope reaches each subscriber at most once, and those of one
    origin in their order. It may lose any of them, in which case later numbers of that origin show
    it. It reconnects by itself and reports that as a `Gap`; an exception that it raises is taken
    for a bug or a wrong configuration, and ends `Room.exchange`.
    """

    async def publish(self, channel: str, envelope: Envelope) -> None:
        """Hand an envelope over to every subscriber of the channel, the sender's own included.

        Returns when more may follow, not when it has arrived. Must not raise because the connection
        is lost.
        """
        ...

    def subscribe(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[Incoming]]:
        """Receive what is published on a channel while the block lasts; entered, it is in force.

        The iterator never ends by itself.
        """
        ...


@final
class InProcessBackplane:
    """A backplane between the rooms of one event loop: for tests, and as an example of the seam.

    Args:
        buffer: Envelopes that may wait for one subscriber. Beyond it they are lost, with a `Gap`.
    """

    def __init__(self, *, buffer: int = OUTGOING_MESSAGES) -> None:
        self._buffer = buffer
        self._channels: dict[str, dict[_Subscription, None]] = {}

    async def publish(self, channel: str, envelope: Envelope) -> None:
        """Hand an envelope over to every subscriber. A checkpoint."""
        for subscription in self._channels.get(channel, ()):
            subscription.put(envelope)
        await anyio.lowlevel.checkpoint()

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncGenerator[AsyncIterator[Incoming]]:
        """Receive what is published on a channel while the block lasts. No checkpoint."""
        subscription = _Subscription(self._buffer)
        self._channels.setdefault(channel, {})[subscription] = None
        try:
            yield subscription
        finally:
            del self._channels[channel][subscription]
            if not self._channels[channel]:
                del self._channels[channel]


class _Subscription:
    """What waits for one subscriber."""

    def __init__(self, limit: int) -> None:
        self._waiting: deque[Incoming] = deque()
        self._limit = limit
        self._news = anyio.Event()

    def put(self, envelope: Envelope) -> None:
        if len(self._waiting) < self._limit:
            self._waiting.append(envelope)
        elif len(self._waiting) == self._limit:
            self._waiting.append(Gap())
        self._news.set()

    def __aiter__(self) -> AsyncIterator[Incoming]:
        return self

    async def __anext__(self) -> Incoming:
        await anyio.lowlevel.checkpoint()
        while not self._waiting:
            self._news = anyio.Event()
            await self._news.wait()
        return self._waiting.popleft()


class Link:
    """One room's connection to a backplane.

    Args:
        backplane: The backplane.
        channel: The room's name.
        deliver: Takes a message that came from elsewhere, and its key.
        lose: Takes the number of messages that never came.
    """

    def __init__(
        self,
        backplane: Backplane,
        channel: str,
        deliver: Callable[[Message, str | None], object],
        lose: Callable[[int], object],
    ) -> None:
        self._backplane = backplane
        self._channel = channel
        self._deliver = deliver
        self._lose = lose
        self._origin = secrets.token_hex(8)
        self._number = 0
        self._waiting: deque[Envelope] = deque()
        self._waiting_bytes = 0
        self._news = anyio.Event()
        self._heard: dict[str, int] = {}
        """The last number of every origin, the one heard last at the end."""

    def offer(self, message: Message, key: str | None) -> None:
        """Queue a message for the backplane. If there is no room it is lost; its number is not."""
        self._number += 1
        if len(self._waiting) < OUTGOING_MESSAGES and self._waiting_bytes < OUTGOING_BYTES:
            self._waiting.append(Envelope(self._origin, self._number, message, key))
            self._waiting_bytes += size_of(message)
            self._news.set()

    async def run(self, events: AsyncIterator[Incoming]) -> None:
        """Exchange messages until cancelled.

        Args:
            events: The subscription to the channel.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._send_all)
            async for event in events:
                self._take(event)
            raise anyio.EndOfStream(
                f"the backplane has ended its subscription to {self._channel!r}"
            )

    async def _send_all(self) -> None:
        while True:
            while self._waiting:
                envelope = self._waiting.popleft()
                self._waiting_bytes -= size_of(envelope.message)
                await self._backplane.publish(self._channel, envelope)
            self._news = anyio.Event()
            await self._news.wait()

    def _take(self, event: Incoming) -> None:
        if isinstance(event, Gap):
            # Whatever the next numbers show has been told with this.
            self._heard.clear()
            self._lose(1)
        elif event.origin != self._origin:
            self._take_envelope(event)

    def _take_envelope(self, envelope: Envelope) -> None:
        last = self._heard.pop(envelope.origin, envelope.number - 1)
        self._heard[envelope.origin] = max(last, envelope.number)
        if len(self._heard) > MAX_ORIGINS:
            del self._heard[next(iter(self._heard))]
        if envelope.number <= last:
            return  # a second time, or too late: at most once, and in order
        if envelope.number > last + 1:
            self._lose(envelope.number - last - 1)
        self._deliver(envelope.message, envelope.key)
