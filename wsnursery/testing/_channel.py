"""The state of one connection that the server's side and the peer's side share."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio

from wsnursery._types import Message

from ._personalities import Personality
from ._transcript import Party, Transcript, TranscriptEntry, Verb


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """The last item that the peer can receive. ``code`` is the code that it sees."""

    code: int
    reason: str = ""


class Channel:
    """Two bounded queues and an end, with a way to wait for any change.

    There is no await between looking at a queue and changing it, so a cancelled wait loses nothing.
    """

    def __init__(self, personality: Personality) -> None:
        self.personality = personality
        self.transcript: Transcript = Transcript()
        self.to_app: deque[dict[str, Any]] = deque()
        """Message events on their way to the application."""
        self.to_peer: deque[Message | CloseFrame] = deque()
        """Messages, and at most one close frame, on their way to the peer."""
        self.end: dict[str, Any] | None = None
        """The disconnect event. It is set once, and delivered after the messages."""
        self.peer_left: bool = False
        """Whether the peer has closed or vanished. Then it takes no more messages."""
        self.app_closed: tuple[int, str] | None = None
        """The code and reason of the application's close."""
        self.answered = False
        """Whether the application has sent its accept, even if the peer had already left."""
        self.accepted = False
        self.subprotocol: str | None = None
        self.response_headers: list[tuple[bytes, bytes]] = []
        self.denial: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self.denial_body = b""
        self.denied = False
        """Whether the denial is complete."""
        self.notified = False
        """Whether the application has received the disconnect event."""
        self.torn = False
        """Whether a raw send was cancelled. Then part of its frame may have been sent."""
        self.reading = 0
        """The number of tasks inside the raw receive."""
        self._changed = anyio.Event()
        self._started_at: float | None = None

    @property
    def room_to_app(self) -> bool:
        """Return whether one more message for the application fits."""
        return len(self.to_app) < _limit(self.personality.receive_queue)

    @property
    def room_to_peer(self) -> bool:
        """Return whether one more message for the peer fits."""
        return len(self.to_peer) < _limit(self.personality.send_queue)

    def log(
        self,
        party: Party,
        verb: Verb,
        *,
        message: Message | None = None,
        code: int | None = None,
        detail: str = "",
    ) -> None:
        """Append to the transcript."""
        now = anyio.current_time()
        if self._started_at is None:
            self._started_at = now
        self.transcript.add(
            TranscriptEntry(now - self._started_at, party, verb, message, code, detail)
        )

    def notify(self) -> None:
        """Let every waiting task check its condition again, after a change."""
        # An event cannot be cleared, so later waits need a new one.
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds. Not a checkpoint if it already holds."""
        while not condition():
            await self._changed.wait()

    def finish(self, event: dict[str, Any]) -> None:
        """Set the disconnect event, unless there is one, because the first facts count."""
        if self.end is None:
            self.end = event
            self.notify()

    def leave(self, event: dict[str, Any]) -> None:
        """Let the peer leave. Its unread messages are lost, and a disconnect event follows."""
        self.peer_left = True
        self.to_peer.clear()
        self.finish(event)
        self.notify()

    def disconnect_event(self, code: int | None, reason: str | None = None) -> dict[str, Any]:
        """Return this server's disconnect event. ``reason`` is given only after a close frame."""
        event: dict[str, Any] = {"type": "websocket.disconnect"}
        if self.personality.reports_code:
            event["code"] = code
        if reason is not None and self.personality.reports_reason:
            event["reason"] = reason
        return event


def _limit(messages: int | None) -> float:
    return math.inf if messages is None else messages
