"""The remote end of the connection, which the test controls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from wsnursery._types import Message

from ._channel import CloseFrame
from ._errors import ApplicationStuck, ConnectionEnded

if TYPE_CHECKING:
    from ._channel import Channel
    from ._transcript import Transcript

DEFAULT_TIMEOUT = 60.0  # seconds, longer than every default timeout of a handler


class Peer:
    """Controls the other side of the WebSocket. Any number of tasks may use it at once."""

    def __init__(self, channel: Channel, *, timeout: float, answers_close: bool) -> None:
        self._channel = channel
        self._timeout = timeout
        self._answers_close = answers_close
        self._left_with: CloseFrame | None = None

    @property
    def transcript(self) -> Transcript:
        """The events so far."""
        return self._channel.transcript

    @property
    def accepted(self) -> bool:
        """Whether the application accepted the handshake."""
        return self._channel.accepted

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the application chose."""
        return self._channel.subprotocol

    @property
    def response_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that the application added to the accepted handshake."""
        return self._channel.response_headers

    @property
    def unread(self) -> int:
        """The number of this peer's messages that the application has not received."""
        return len(self._channel.to_app)

    @property
    def pending(self) -> int:
        """The number of the application's messages that this peer has not received."""
        return sum(isinstance(item, str | bytes) for item in self._channel.to_peer)

    async def send(self, message: Message) -> None:
        """Send one message. Waits while the server's queue is full, as TCP would.

        Raises:
            ApplicationStuck: The application read nothing for ``timeout`` seconds.
            ConnectionEnded: This peer has left, or the application has ended the connection.

        *Checkpoint*: if it has to wait. *Cancellation*: nothing was sent.
        """
        await self._wait_for(
            lambda: self._channel.room_to_app or self._is_over,
            f"did not read: the server's queue has been full of {self.unread} messages",
        )
        self.send_nowait(message)

    def send_nowait(self, message: Message) -> None:
        """Send one message without waiting.

        Raises:
            anyio.WouldBlock: The server's queue is full.
            ConnectionEnded: This peer has left, or the application has ended the connection.
        """
        if self._is_over:
            self._raise_ended()
        if not self._channel.room_to_app:
            raise anyio.WouldBlock
        self._channel.log("peer", "send", message=message)
        both_keys = self._channel.personality.both_payload_keys
        self._channel.to_app.append(_message_event(message, both_keys))
        self._channel.notify()

    async def receive(self) -> Message:
        """Wait for the next message of the application.

        Raises:
            ApplicationStuck: No message came for ``timeout`` seconds.
            ConnectionEnded: The application closed, or this peer has left.

        *Checkpoint*: if it has to wait. *Cancellation*: loses nothing.
        """
        await self._wait_for(lambda: bool(self._channel.to_peer) or self._is_over, "sent nothing")
        return self.receive_nowait()

    def receive_nowait(self) -> Message:
        """Take the next message of the application without waiting.

        Raises:
            anyio.WouldBlock: There is none.
            ConnectionEnded: The application closed, or this peer has left.
        """
        if not self._channel.to_peer:
            if self._is_over:
                self._raise_ended()
            raise anyio.WouldBlock
        item = self._channel.to_peer[0]
        if isinstance(item, CloseFrame):
            self._raise_ended()
        self._channel.to_peer.popleft()
        self._channel.notify()
        return item

    async def __aiter__(self) -> AsyncIterator[Message]:  # noqa: ASYNC900 - it holds no resource
        """Receive until the connection ends."""
        while True:
            try:
                message = await self.receive()
            except ConnectionEnded:
                return
            yield message

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame and leave. Messages that this peer has not received are lost.

        Args:
            code: The code in the frame; ``None`` sends an empty frame.
            reason: The reason in the frame.
        """
        if self._channel.peer_left:
            return
        self._channel.log("peer", "close", code=code, detail=reason)
        rules = self._channel.personality
        if code is None:
            reported = rules.empty_close_code
        else:
            reported = code if rules.close_code == "peer" else rules.close_code
        self._leave(reported, reason, CloseFrame(1005 if code is None else code, reason))

    def vanish(self) -> None:
        """Disappear without a close frame, as with a pulled cable or a killed process."""
        if self._channel.peer_left:
            return
        self._channel.log("peer", "vanish")
        self._leave(self._channel.personality.loss_code, None, CloseFrame(1006))

    async def wait_gone(self) -> None:
        """Wait until this peer has left.

        *Checkpoint*: if it has to wait. *Cancellation*: changes nothing.
        """
        await self._channel.until(lambda: self._channel.peer_left)

    def answer_close(self) -> None:
        """Answer the application's close frame (a peer made with ``answers_close=False``)."""
        if self._channel.app_closed is not None and not self._channel.peer_left:
            code, reason = self._channel.app_closed
            rules = self._channel.personality
            reported = code if rules.own_close_code == "own" else rules.own_close_code
            self._channel.peer_left = True
            self._channel.finish(self._channel.disconnect_event(reported, reason))

    def see_close(self) -> None:
        """Answer the application's close frame, if this peer is set to answer."""
        if self._answers_close:
            self.answer_close()

    @property
    def _is_over(self) -> bool:
        return self._left_with is not None or self._channel.peer_left

    def _leave(self, reported: int | None, reason: str | None, seen: CloseFrame) -> None:
        self._left_with = seen
        self._channel.leave(self._channel.disconnect_event(reported, reason))

    def _raise_ended(self) -> NoReturn:
        frames = [item for item in self._channel.to_peer if isinstance(item, CloseFrame)]
        end = self._left_with or (frames[0] if frames else CloseFrame(1006))
        raise ConnectionEnded(end.code, end.reason)

    async def _wait_for(self, condition: Any, failure: str) -> None:
        with anyio.move_on_after(self._timeout) as scope:
            await self._channel.until(condition)
        if scope.cancelled_caught:
            raise ApplicationStuck(
                f"the application {failure} for {self._timeout:g} seconds{self._whereabouts()}"
            )

    def _whereabouts(self) -> str:
        """Return where the application waits, for an error message. Empty if unknown."""
        return ""


def _message_event(message: Message, both_keys: bool) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "websocket.receive"}
    if both_keys:
        event |= {"text": None, "bytes": None}
    event["text" if isinstance(message, str) else "bytes"] = message
    return event
