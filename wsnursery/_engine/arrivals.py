"""Checks and counts what the server delivers, before a reader gets it.

Both ways of receiving use it: the receiver task, and a reader that receives in its own task.
"""

from __future__ import annotations

from wsnursery._backend.backend import Backend
from wsnursery._codes import CloseCode
from wsnursery._options import Options
from wsnursery._types import Message

from .events import Connect, Disconnect
from .idle_timeout import IdleTimeout
from .lifecycle import Lifecycle
from .observers import Observers
from .outcome import Raiser
from .payload import size_of
from .states import State, Transition
from .token_bucket import TokenBucket, bucket_of
from .transport import Transport
from .wire import CHECKPOINTS_FOR_CAUSE


class Arrivals:
    """Handles every event of the server, and a failure of its ``receive``.

    Args:
        lifecycle: Notified of the handshake and of the disconnect.
        transport: Decides what an exception means.
        options: The limits.
        observers: Notified of messages.
        backend: The event loop.
    """

    __slots__ = (
        "_backend",
        "_lifecycle",
        "_observers",
        "_options",
        "_transport",
        "_wire",
        "bucket",
        "bytes",
        "disconnected",
        "idle",
        "messages",
    )

    def __init__(
        self,
        lifecycle: Lifecycle,
        transport: Transport,
        options: Options,
        observers: Observers,
        backend: Backend,
    ) -> None:
        self._lifecycle = lifecycle
        self._wire = lifecycle.wire
        self._transport = transport
        self._options = options
        self._observers = observers
        self._backend = backend
        self.messages: int = 0
        self.bytes: int = 0
        self.disconnected: bool = False
        """No more events can come: the disconnect was delivered, or ``receive`` has failed."""
        self.bucket: TokenBucket | None = bucket_of(options, backend.now)
        """The rate limit for messages of the peer; `None` if there is none."""
        self.idle: IdleTimeout | None = None
        """The limit for a silent peer, from the accept on; `None` if there is none."""

    def on_message(self, message: Message) -> int | None:
        """Count a message; return its size, or `None` if it is dropped."""
        lifecycle = self._lifecycle
        if lifecycle.over or lifecycle.states.state is not State.OPEN:
            lifecycle.states.apply(Transition.MESSAGE_IN)
            if lifecycle.over:
                return None
        size = size_of(message)
        self.messages += 1
        self.bytes += size
        if self._observers.messages:
            self._observers.message_received(message, size)
        if size > self._options.max_message_size:
            lifecycle.close_for_a_limit(CloseCode.MESSAGE_TOO_BIG, "message too big", None)
            return None
        if self.bucket is not None and not self.bucket.take(self._backend.now()):
            lifecycle.close_for_a_limit(CloseCode.POLICY_VIOLATION, "too many messages", None)
            return None
        if self.idle is not None:
            self.idle.received_at = self._backend.now()
        # A hook that received the message may have ended the connection.
        return None if self._lifecycle.over else size

    async def on_signal(self, event: Connect | Disconnect) -> None:
        """Act on an event that is not a message."""
        if isinstance(event, Disconnect):
            await self._on_disconnect(event)
        else:
            self._lifecycle.on_connect()

    async def _on_disconnect(self, event: Disconnect) -> None:
        """Let a raw send in flight raise first, because its exception is the cause."""
        wire = self._wire
        self.disconnected = True
        wire.held, wire.clear = True, False
        try:
            for _ in range(CHECKPOINTS_FOR_CAUSE):
                if not wire.sending or wire.pending_error is not None:
                    break
                await self._backend.checkpoint()
        finally:
            # Also if this task is being cancelled, because the server delivers the event only once.
            wire.held = False
            self._lifecycle.on_disconnect(event.code, event.reason, wire.pending_error)

    def receive_failed(self, exc: Exception) -> None:
        """Handle an exception of the raw receive: the peer is gone, or there is an error."""
        self.disconnected = True
        certain = isinstance(exc, OSError) and not _is_plain_timeout(exc)
        if certain or (not self._options.strict and self._transport.says_gone(exc)):
            self._lifecycle.end_abnormally(exc)
        else:
            self.protocol_violated(exc)

    def protocol_violated(self, exc: Exception) -> None:
        """End the connection with an error of the server, which leaves through the block."""
        self.disconnected = True
        self._lifecycle.fail(Raiser.CONNECTION, exc)
        self._lifecycle.close_for_a_limit(CloseCode.INTERNAL_ERROR, "", exc)


def _is_plain_timeout(exc: OSError) -> bool:
    """Whether code around ``receive`` raised this timeout, and not the kernel."""
    # `anyio.fail_after` and `asyncio.timeout` raise it without an errno. The kernel's ETIMEDOUT has
    # one.
    return isinstance(exc, TimeoutError) and exc.errno is None
