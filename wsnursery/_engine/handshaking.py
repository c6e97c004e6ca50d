"""The calls of the application about the connection itself: accept, reject, close."""

from __future__ import annotations

import anyio

from wsnursery._backend.backend import Backend
from wsnursery._errors import LocalProtocolError
from wsnursery._options import Options

from .events import Accept, Close, Reject
from .lifecycle import End, Lifecycle
from .outgoing import OutgoingSide
from .states import State, Transition
from .user_task import UserTask


class Handshaking:
    """The opening and the closing handshake, on this side."""

    __slots__ = ("_accepting", "_backend", "_caller", "_lifecycle", "_options", "_outgoing")

    def __init__(
        self, lifecycle: Lifecycle, outgoing: OutgoingSide, options: Options, backend: Backend
    ) -> None:
        self._lifecycle = lifecycle
        self._outgoing = outgoing
        self._options = options
        self._backend = backend
        self._accepting = False
        self._caller: UserTask | None = None
        """The user's task that waits in `accept` for the server."""

    async def accept(self, event: Accept) -> None:
        """Complete the handshake, after the server has announced it."""
        self._lifecycle.check_place()
        await self._backend.checkpoint_if_cancelled()
        # Every call that raises is a checkpoint (S8), so that a loop of such calls cannot freeze
        # the process. The checkpoints before the errors below have the same reason.
        if self._accepting:
            await self._backend.checkpoint()
            raise LocalProtocolError("accept() is already in progress: call it once")
        self._accepting = True
        try:
            await self._requested()
            await self._apply(Transition.ACCEPT)
            await self._outgoing.accept(event)
        finally:
            self._accepting = False

    async def _requested(self) -> None:
        """Wait until the server has announced the handshake."""
        lifecycle = self._lifecycle
        if lifecycle.over:
            await self._backend.checkpoint()
            raise lifecycle.closed_error()
        caller = self._caller = lifecycle.tasks.current()
        try:
            while lifecycle.states.state is State.CONNECTING:
                await lifecycle.requested.wait()
        except BaseException:
            if lifecycle.end is not None:
                lifecycle.tasks.retract(caller)
            raise
        finally:
            self._caller = None
        if lifecycle.over:
            raise lifecycle.closed_error()

    async def _apply(self, event: Transition) -> None:
        try:
            self._lifecycle.states.apply(event)
        except LocalProtocolError:
            await self._backend.checkpoint()
            raise

    async def reject(self, event: Reject) -> None:
        """Deny the handshake."""
        lifecycle = self._lifecycle
        lifecycle.check_place()
        if lifecycle.over:
            await self._backend.checkpoint()
            raise lifecycle.closed_error()
        # No checkpoint before it is queued, so that it is sent even in a cancelled scope.
        lifecycle.begin_reject()
        lifecycle.note_closer()
        await self._outgoing.reject(event)

    async def close(self, code: int, reason: str) -> None:
        """Flush, close, and return when the server has taken the close, or after the timeout."""
        lifecycle = self._lifecycle
        lifecycle.check_place()
        if lifecycle.left:
            await self._backend.checkpoint()
        lifecycle.refuse_after_block()
        # As in `reject`.
        if lifecycle.end is None:
            lifecycle.begin_close(code, reason)
        lifecycle.note_closer()
        timeout = self._options.close_timeout
        with anyio.move_on_after(timeout) as limit:
            await self._outgoing.close_taken()
        if limit.cancelled_caught:
            lifecycle.end_abnormally(TimeoutError(f"could not flush and close within {timeout} s"))

    def on_accepted(self) -> None:
        """As `Listener.on_accepted`."""

    def on_closing(self, close: Close | None) -> None:
        """As `Listener.on_closing`."""
        self._lifecycle.requested.wake()

    def on_end(self, end: End, close: Close | None) -> None:
        """As `Listener.on_end`: a waiting `accept` counts as notified."""
        if self._caller is not None:
            self._lifecycle.tasks.notify(self._caller)
        self._lifecycle.requested.wake()
