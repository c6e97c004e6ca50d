"""The application's side of the in-memory server: the raw ASGI ``receive`` and ``send``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import anyio

from ._personalities import unexpected_message
from ._wire import CloseFrame, Wire

if TYPE_CHECKING:
    from ._faults import Armed
    from ._transcript import Message


class AsgiSide:
    """Keeps the order of the ASGI messages, and treats the application as the personality says.

    Args:
        wire: The connection.
        faults: Gives the faults that are armed at the moment.
        on_close: Called when the application's close frame is on its way to the peer.
    """

    def __init__(
        self, wire: Wire, faults: Callable[[], Sequence[Armed]], on_close: Callable[[], None]
    ) -> None:
        self._wire = wire
        self._rules = wire.personality
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
        if self._wire.reading:
            self._wire.transcript.blame("two raw receives at once")
        self._wire.reading += 1
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
            self._wire.log("app", "fail", detail=f"receive raised {error!r}")
            raise
        finally:
            self._wire.reading -= 1
            self._wire.notify()

    async def _next_event(self) -> Mapping[str, Any]:
        if self._connect_due:
            self._connect_due = False
            return {"type": "websocket.connect"}
        if self._wire.told:
            return await self._after_disconnect()
        try:
            await self._wire.until(lambda: self._has_message() or self._wire.end is not None)
        except BaseException:
            # The event came in the very moment of the cancellation.
            if self._rules.cancelled_receive_loses and self._has_message():
                self._wire.to_app.popleft()
            raise
        if self._has_message():
            event: Mapping[str, Any] = self._wire.to_app.popleft()
            self._wire.notify()
            return event
        assert self._wire.end is not None
        return self._wire.end

    def _has_message(self) -> bool:
        # What the peer has sent behind its handshake waits until the server has answered that.
        return self._wire.accepted and bool(self._wire.to_app)

    async def _after_disconnect(self) -> Mapping[str, Any]:
        if self._rules.after_disconnect == "hang":
            await anyio.sleep_forever()
        return self._wire.disconnect_event(1005)

    def _deliver(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = event.get("type")
        if kind == "websocket.connect":
            self._wire.log("app", "connect")
        elif kind == "websocket.disconnect":
            self._wire.told = True
            self._wire.log(
                "app", "disconnect", code=event.get("code"), detail=event.get("reason", "")
            )
        elif kind == "websocket.receive":
            message = event.get("text")
            self._wire.log(
                "app", "receive", message=event.get("bytes") if message is None else message
            )
        else:
            self._wire.log("app", "receive", detail=repr(event))
        return event

    # send

    async def send(self, event: Mapping[str, Any]) -> None:
        """The raw ASGI send."""
        if self._sending:
            self._wire.transcript.blame("two raw sends at once")
        if self._wire.torn:
            self._wire.transcript.blame(f"{event['type']} after a raw send that was cancelled")
        if self._wire.told:
            self._wire.log("app", "late", detail=f"{event['type']} after the disconnect event")
        self._sending = True
        try:
            faults = self._faults()
            for fault in faults:
                fault.count_send()
            for fault in faults:
                await fault.sending(event)
            await self._send(event)
        except Exception as error:
            self._wire.log("app", "fail", detail=f"{event['type']} raised {error!r}")
            raise
        except BaseException:
            self._wire.torn = True
            self._wire.log("app", "fail", detail=f"{event['type']} was cancelled")
            raise
        finally:
            self._sending = False

    async def _send(self, event: Mapping[str, Any]) -> None:
        kind: str = event["type"]
        if self._wire.app_closed is not None or self._wire.denied:
            self._wire.transcript.blame(f"{kind} after the application had closed")
            raise unexpected_message(kind)
        if self._wire.answered:
            await self._send_accepted(kind, event)
        elif kind not in self._handlers:
            self._wire.transcript.blame(f"{kind} before websocket.accept")
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' or "
                f"'websocket.http.response.start' but got {kind!r}."
            )
        elif self._wire.peer_left:
            self._wire.answered = kind == "websocket.accept"
            await self._late(kind)
        else:
            self._handlers[kind](event)
            self._wire.notify()

    async def _send_accepted(self, kind: str, event: Mapping[str, Any]) -> None:
        if kind not in {"websocket.send", "websocket.close"}:
            self._wire.transcript.blame(f"{kind} after websocket.accept")
            raise RuntimeError(
                f"Expected ASGI message 'websocket.send' or 'websocket.close', but got {kind!r}."
            )
        if kind == "websocket.send":
            await self._send_message(_payload(event))
        else:
            await self._close(int(event.get("code", 1000)), event.get("reason") or "")

    async def _send_message(self, message: Message) -> None:
        with anyio.CancelScope(shield=self._rules.shielded_sends):
            await self._wire.until(lambda: self._wire.room_to_peer or self._wire.peer_left)
        if self._wire.peer_left:
            await self._late("websocket.send")
            return
        self._wire.log("app", "send", message=message)
        self._wire.to_peer.append(message)
        self._wire.notify()

    async def _close(self, code: int, reason: str) -> None:
        if self._rules.close_waits_for_receive:
            await self._wire.until(lambda: self._wire.reading == 0)
        if self._wire.peer_left:
            await self._late("websocket.close")
            return
        self._wire.log("app", "close", code=code, detail=reason)
        self._wire.app_closed = (code, reason)
        self._wire.to_peer.append(CloseFrame(code, reason))
        self._wire.notify()
        if self._rules.own_close == "at once":
            reported = code if self._rules.own_close_code == "own" else self._rules.own_close_code
            self._wire.finish(self._wire.disconnect_event(reported, reason))
        self._on_close()

    async def _late(self, kind: str) -> None:
        """The peer is gone: do what this server does then."""
        self._wire.log("app", "late", detail=kind)
        if self._rules.send_waits_for_queue and not self._wire.told:
            await self._wait_for_queue()
        late_send = self._rules.told_send if self._wire.told else self._rules.late_send
        if late_send is not None:
            raise late_send(kind)

    async def _wait_for_queue(self) -> None:
        try:
            await self._wire.until(lambda: self._wire.room_to_app)
        except BaseException:
            # The server was about to put the disconnect event into the queue, in this very call.
            self._wire.end = None
            raise

    # the handshake

    def _accept(self, event: Mapping[str, Any]) -> None:
        self._wire.log("app", "accept", detail=event.get("subprotocol") or "")
        self._wire.answered = self._wire.accepted = True
        self._wire.subprotocol = event.get("subprotocol")
        self._wire.response_headers = list(event.get("headers") or ())

    def _deny_plainly(self, _event: Mapping[str, Any]) -> None:
        self._wire.denial = (403, [])
        self._finish_denial()

    def _deny_start(self, event: Mapping[str, Any]) -> None:
        if "websocket.http.response" not in (self._rules.extensions or ()):
            raise unexpected_message(event["type"])
        self._wire.denial = (event["status"], list(event.get("headers") or ()))

    def _deny_body(self, event: Mapping[str, Any]) -> None:
        if self._wire.denial is None:
            raise unexpected_message(event["type"])
        self._wire.denial_body += event.get("body", b"")
        if not event.get("more_body", False):
            self._finish_denial()

    def _finish_denial(self) -> None:
        assert self._wire.denial is not None
        self._wire.log("app", "deny", code=self._wire.denial[0])
        self._wire.denied = True
        if self._rules.own_close == "at once":
            self._wire.finish(self._wire.disconnect_event(1006))


def _payload(event: Mapping[str, Any]) -> Message:
    """The message in a send or receive event.

    Raises:
        TypeError: it has none.
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
