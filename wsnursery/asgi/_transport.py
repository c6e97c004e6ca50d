"""The transport for ASGI: ``(scope, receive, send)`` as the engine's interface."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from wsnursery._engine.connection_log import ConnectionLog
from wsnursery._engine.events import Accept, Close, Connect, Disconnect, Incoming, Outgoing, Reject
from wsnursery._errors import RemoteProtocolError
from wsnursery._options import Options
from wsnursery._types import Receive, Scope, Send

from ._extension import extension_of
from ._servers import means_gone, substitute_code, traits_of
from ._socket import disable_send_eof, drop, server_connection_of


class ASGITransport:
    """An ASGI ``(scope, receive, send)`` as a `Transport`."""

    round_trip_time: float | None = None

    def __init__(self, scope: Scope, receive: Receive, send: Send, options: Options) -> None:
        traits = traits_of(scope)
        self.scope = scope
        self.receive_blocks_close = traits.receive_blocks_close
        self._receive = receive
        self._send = send
        connection = server_connection_of(send)
        if connection is not None:
            disable_send_eof(connection)
        self._strict = options.strict
        self._connected = False
        self._is_open = False
        """Accepted, not closed by this side, and no raw send is in flight."""
        self._refuses_late_sends = options.strict and _announces_late_errors(scope)
        # The probe for late sends waits for the next call of `receive`.
        self.drains: bool = traits.drains or self._refuses_late_sends
        self._probe_is_due = False
        self._logged_unknown = False

    async def receive(self) -> Incoming:
        if self._probe_is_due:
            await self._check_late_send()
        while True:
            event = self.parse(await self._receive())
            if event is not None:
                return event

    def parse(self, raw: Any) -> Incoming | None:
        """Convert an event of the server; `None` for an event that is ignored.

        Raises:
            RemoteProtocolError: The event is not valid.
        """
        event = _parse(raw)
        if isinstance(event, (str, bytes)):  # first, because most events are messages
            return event
        if isinstance(event, _Unknown):
            self._meet_unknown(event)
            return None
        self._connected = True
        self._probe_is_due = (
            isinstance(event, Disconnect) and self._is_open and self._refuses_late_sends
        )
        return event

    def _meet_unknown(self, event: _Unknown) -> None:
        if self._strict or not self._connected:
            raise RemoteProtocolError(
                f"the server delivered an event of unknown type {event.type!r}"
            )
        if not self._logged_unknown:
            self._logged_unknown = True
            ConnectionLog(self.scope).warning(
                "ignored an event of unknown type %r from the server", event.type
            )

    async def send(self, event: Outgoing) -> None:
        self._is_open = False  # no probe for late sends while a raw send is in flight
        if isinstance(event, str):
            await self._send({"type": "websocket.send", "text": event})
        elif isinstance(event, bytes):
            await self._send({"type": "websocket.send", "bytes": event})
        elif isinstance(event, Close):
            await self._send_close(int(event.code), event.reason)
            return
        else:
            for message in self._answer(event):
                await self._send(message)
        self._is_open = not isinstance(event, Reject)

    async def _send_close(self, code: int, reason: str) -> None:
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception as exc:
            substitute = substitute_code(code, exc)
            if substitute is None:
                raise
            level = logging.WARNING if self._strict else logging.INFO
            ConnectionLog(self.scope).log(
                level, "the server refuses close code %d: sent %d", code, substitute
            )
            await self._send({"type": "websocket.close", "code": substitute, "reason": reason})

    def _answer(self, event: Accept | Reject) -> list[dict[str, Any]]:
        if isinstance(event, Accept):
            return [
                {
                    "type": "websocket.accept",
                    "subprotocol": event.subprotocol,
                    "headers": list(event.headers),
                }
            ]
        return self._denial(event)

    def _denial(self, event: Reject) -> list[dict[str, Any]]:
        if "websocket.http.response" not in (self.scope.get("extensions") or {}):
            ConnectionLog(self.scope).info(
                "this server cannot send a denial response: the client gets 403 instead of %d",
                event.status,
            )
            return [{"type": "websocket.close", "code": 1000, "reason": ""}]
        start = {
            "type": "websocket.http.response.start",
            "status": event.status,
            "headers": list(event.headers),
        }
        return [start, {"type": "websocket.http.response.body", "body": event.body}]

    def says_gone(self, exc: Exception) -> bool:
        return means_gone(exc)

    def abort(self) -> bool:
        extension = extension_of(self.scope)
        connection = server_connection_of(self._send if extension is None else extension.send)
        if connection is None or connection.shared:
            return False
        drop(connection.server, connection.socket)
        return True

    async def _check_late_send(self) -> None:
        """Strict mode: a server that announces ASGI 2.4 must refuse a send after the disconnect.

        At this point the engine no longer sends. It calls ``receive`` only to drain the server.
        """
        self._probe_is_due = False
        try:
            await self._send({"type": "websocket.send", "text": ""})
        except OSError:
            return
        except Exception as exc:  # noqa: BLE001 - it is reported below
            problem = f"raised {exc!r} instead of an OSError"
        else:
            problem = "raised nothing"
        ConnectionLog(self.scope).warning(
            "the server announces ASGI 2.4, but a send after the disconnect %s", problem
        )


class _Unknown:
    """An event type that is not in the specification."""

    def __init__(self, event_type: object) -> None:
        self.type = event_type


def _parse(event: Mapping[str, Any]) -> Incoming | _Unknown:
    try:
        kind = event["type"]
    except (TypeError, KeyError, IndexError):
        raise RemoteProtocolError(
            f"the server delivered {type(event).__name__!r} without a 'type' instead of an event"
        ) from None
    if kind == "websocket.receive":
        text = event.get("text")
        if isinstance(text, str):
            return text
        data = event.get("bytes")
        if isinstance(data, bytes):
            return data
        raise RemoteProtocolError(
            "the server delivered a 'websocket.receive' with neither 'text' nor 'bytes'"
        )
    if kind == "websocket.disconnect":
        code = event.get("code")
        return Disconnect(code if isinstance(code, int) else None, str(event.get("reason") or ""))
    if kind == "websocket.connect":
        return Connect()
    return _Unknown(kind)


def _announces_late_errors(scope: Scope) -> bool:
    version = str(scope.get("asgi", {}).get("spec_version", "2.0"))
    parts = [int(part) for part in version.split(".") if part.isdigit()]
    return tuple(parts) >= (2, 4)
