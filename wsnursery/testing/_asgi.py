"""The application's side of the in-memory server: the raw ASGI ``receive`` and ``send``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import anyio

from wsnursery._types import Message

from ._channel import Channel, CloseFrame
from ._personalities import unexpected_message

if TYPE_CHECKING:
    from ._faults import Armed


class AsgiSide:
    """Checks the order of the ASGI messages, and behaves as the personality defines.

    Args:
        channel: The connection.
        faults: Returns the faults that are currently armed.
        on_close: Called when the application has sent its close frame.
    """

    def __init__(
        self, channel: Channel, faults: Callable[[], Sequence[Armed]], on_close: Callable[[], None]
    ) -> None:
        self._channel = channel
        self._rules = channel.personality
        self._faults = faults
        self._on_close = on_close
        self._connect_due = True
        self._sending = False
        self._handlers: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "websocket.accept": self._accept,
            "websocket.close": self._deny_plainly,
            "websocket.http.response.start": self._deny_start,
            "websocket.http.response.body": self._deny_body,
        }

    # receive

    async def receive(self) -> Mapping[str, Any]:
        """The raw ASGI receive."""
        if self._channel.reading:
            self._channel.transcript.record_violation("two raw receives at once")
        self._channel.reading += 1
        try:
            faults = self._faults()
            for fault in faults:
                fault.count_receive()
            for fault in faults:
                event = await fault.receiving()
                if event is not None:
                    return self._deliver(event)
            return self._deliver(await self._next_event())
        except Exception as error:
            self._channel.log("app", "fail", detail=f"receive raised {error!r}")
            raise
        finally:
            self._channel.reading -= 1
            self._channel.notify()

    async def _next_event(self) -> Mapping[str, Any]:
        if self._connect_due:
            self._connect_due = False
            return {"type": "websocket.connect"}
        if self._channel.notified:
            return await self._after_disconnect()
        try:
            await self._channel.until(lambda: self._has_message() or self._channel.end is not None)
        except BaseException:
            # The event arrived at the same moment as the cancellation.
            if self._rules.cancelled_receive_loses and self._has_message():
                self._channel.to_app.popleft()
            raise
        if self._has_message():
            event: Mapping[str, Any] = self._channel.to_app.popleft()
            self._channel.notify()
            return event
        assert self._channel.end is not None
        return self._channel.end

    def _has_message(self) -> bool:
        # Messages that the peer sent after its handshake wait until the server has answered it.
        return self._channel.accepted and bool(self._channel.to_app)

    async def _after_disconnect(self) -> Mapping[str, Any]:
        if self._rules.after_disconnect == "hang":
            await anyio.sleep_forever()
        return self._channel.disconnect_event(1005)

    def _deliver(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = event.get("type")
        if kind == "websocket.connect":
            self._channel.log("app", "connect")
        elif kind == "websocket.disconnect":
            self._channel.notified = True
            self._channel.log(
                "app", "disconnect", code=event.get("code"), detail=event.get("reason", "")
            )
        elif kind == "websocket.receive":
            message = event.get("text")
            self._channel.log(
                "app", "receive", message=event.get("bytes") if message is None else message
            )
        else:
            self._channel.log("app", "receive", detail=repr(event))
        return event

    # send

    async def send(self, event: Mapping[str, Any]) -> None:
        """The raw ASGI send."""
        if self._sending:
            self._channel.transcript.record_violation("two raw sends at once")
        if self._channel.torn:
            self._channel.transcript.record_violation(
                f"{event['type']} after a raw send that was cancelled"
            )
        if self._channel.notified:
            self._channel.log("app", "late", detail=f"{event['type']} after the disconnect event")
        self._sending = True
        try:
            faults = self._faults()
            for fault in faults:
                fault.count_send()
            for fault in faults:
                await fault.sending(event)
            await self._send(event)
        except Exception as error:
            self._channel.log("app", "fail", detail=f"{event['type']} raised {error!r}")
            raise
        except BaseException:
            self._channel.torn = True
            self._channel.log("app", "fail", detail=f"{event['type']} was cancelled")
            raise
        finally:
            self._sending = False

    async def _send(self, event: Mapping[str, Any]) -> None:
        kind: str = event["type"]
        if self._channel.app_closed is not None or self._channel.denied:
            self._channel.transcript.record_violation(f"{kind} after the application had closed")
            raise unexpected_message(kind)
        if self._channel.answered:
            await self._send_accepted(kind, event)
        elif kind not in self._handlers:
            self._channel.transcript.record_violation(f"{kind} before websocket.accept")
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' or "
                f"'websocket.http.response.start' but got {kind!r}."
            )
        elif self._channel.peer_left:
            self._channel.answered = kind == "websocket.accept"
            await self._late(kind)
        else:
            self._handlers[kind](event)
            self._channel.notify()

    async def _send_accepted(self, kind: str, event: Mapping[str, Any]) -> None:
        if kind not in {"websocket.send", "websocket.close"}:
            self._channel.transcript.record_violation(f"{kind} after websocket.accept")
            raise RuntimeError(
                f"Expected ASGI message 'websocket.send' or 'websocket.close', but got {kind!r}."
            )
        if kind == "websocket.send":
            await self._send_message(_payload(event))
        else:
            await self._close(int(event.get("code", 1000)), event.get("reason") or "")

    async def _send_message(self, message: Message) -> None:
        with anyio.CancelScope(shield=self._rules.shielded_sends):
            await self._channel.until(lambda: self._channel.room_to_peer or self._channel.peer_left)
        if self._channel.peer_left:
            await self._late("websocket.send")
            return
        self._channel.log("app", "send", message=message)
        self._channel.to_peer.append(message)
        self._channel.notify()

    async def _close(self, code: int, reason: str) -> None:
        if self._rules.close_waits_for_receive:
            await self._channel.until(lambda: self._channel.reading == 0)
        if self._channel.peer_left:
            await self._late("websocket.close")
            return
        self._channel.log("app", "close", code=code, detail=reason)
        self._channel.app_closed = (code, reason)
        self._channel.to_peer.append(CloseFrame(code, reason))
        self._channel.notify()
        if self._rules.own_close == "at once":
            reported = code if self._rules.own_close_code == "own" else self._rules.own_close_code
            self._channel.finish(self._channel.disconnect_event(reported, reason))
        self._on_close()

    async def _late(self, kind: str) -> None:
        """Behave as this server does when the peer is gone."""
        self._channel.log("app", "late", detail=kind)
        if self._rules.send_waits_for_queue and not self._channel.notified:
            await self._wait_for_queue()
        late_send = self._rules.notified_send if self._channel.notified else self._rules.late_send
        if late_send is not None:
            raise late_send(kind)

    async def _wait_for_queue(self) -> None:
        try:
            await self._channel.until(lambda: self._channel.room_to_app)
        except BaseException:
            # The server would have put the disconnect event into the queue in this call.
            self._channel.end = None
            raise

    # the handshake

    def _accept(self, event: Mapping[str, Any]) -> None:
        self._channel.log("app", "accept", detail=event.get("subprotocol") or "")
        self._channel.answered = self._channel.accepted = True
        self._channel.subprotocol = event.get("subprotocol")
        self._channel.response_headers = list(event.get("headers") or ())

    def _deny_plainly(self, _event: Mapping[str, Any]) -> None:
        self._channel.denial = (403, [])
        self._finish_denial()

    def _deny_start(self, event: Mapping[str, Any]) -> None:
        if "websocket.http.response" not in (self._rules.extensions or ()):
            raise unexpected_message(event["type"])
        self._channel.denial = (event["status"], list(event.get("headers") or ()))

    def _deny_body(self, event: Mapping[str, Any]) -> None:
        if self._channel.denial is None:
            raise unexpected_message(event["type"])
        self._channel.denial_body += event.get("body", b"")
        if not event.get("more_body", False):
            self._finish_denial()

    def _finish_denial(self) -> None:
        assert self._channel.denial is not None
        self._channel.log("app", "deny", code=self._channel.denial[0])
        self._channel.denied = True
        if self._rules.own_close == "at once":
            self._channel.finish(self._channel.disconnect_event(1006))


def _payload(event: Mapping[str, Any]) -> Message:
    """Return the message in a send or receive event.

    Raises:
        TypeError: The event has no message.
    """
    text = event.get("text")
    if isinstance(text, str):
        return text
    data = event.get("bytes")
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(cast("bytearray", data))
    raise TypeError(f"{event.get('type')} needs 'text' or 'bytes'")
