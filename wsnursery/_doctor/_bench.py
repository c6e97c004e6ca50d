"""The application's side of a probe: the raw triple, and the channel to the doctor.

The channel is a blocking socket on the loopback interface. So a task that is being cancelled can
still send a note, and a frozen event loop does not freeze the channel.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import anyio

from wsnursery._types import Message, Receive, Scope, Send

from ._client import Facts

ENVIRONMENT_VARIABLE = "WSNURSERY_DOCTOR_PORT"
"""The environment variable with the port of the channel."""


class ControlChannel:
    """Lines of JSON: it sends notes and orders, and receives the results of orders.

    Args:
        line: A connected socket.
        connection: The name of the connection, for the doctor.
    """

    def __init__(self, line: socket.socket, connection: str) -> None:
        self._line = line
        self._unread = b""
        self._put({"connection": connection})

    @classmethod
    def open(cls, connection: str) -> Self:
        """Connect to the port from the environment."""
        address = ("127.0.0.1", int(os.environ[ENVIRONMENT_VARIABLE]))
        return cls(socket.create_connection(address, timeout=5), connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Read everything first. Closing a socket with unread data would reset it, and our last
        # notes would be lost.
        self._line.setblocking(False)
        with suppress(OSError):  # no more data, or the doctor has gone
            while self._line.recv(65536):
                pass
        self._line.close()

    def note(self, **facts: Any) -> None:
        """Report observations. Not a checkpoint."""
        self._put({"facts": facts})

    def order(self, action: str, **arguments: Any) -> None:
        """Give the client an order, without waiting for it. Not a checkpoint."""
        self._put({"order": action, "arguments": arguments})

    async def ask(self, action: str, **arguments: Any) -> Any:
        """Give the client an order, and wait for its result. One call at a time."""
        self._put({"order": action, "arguments": arguments, "answer": True})
        while b"\n" not in self._unread:
            await anyio.wait_readable(self._line)
            self._unread += self._line.recv(65536)
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)["result"]

    def _put(self, message: Facts) -> None:
        self._line.sendall(json.dumps(message).encode() + b"\n")


class Bench:
    """One connection of the server, with its control channel.

    Args:
        scope: The ASGI scope.
        receive: The ASGI receive.
        send: The ASGI send.
        channel: The channel.
        variant: The variant of the probe.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, channel: ControlChannel, variant: str
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.note = channel.note
        self.order = channel.order
        self.ask = channel.ask
        self.variant = variant

    async def accept(self) -> None:
        """Accept the raw connection."""
        await self.receive()
        await self.send({"type": "websocket.accept"})

    async def send_raw(self, message: Message) -> None:
        """Send a message with the raw ``send``."""
        await self.send({"type": "websocket.send", _key(message): message})

    async def end_of_input(self, seconds: float) -> Facts:
        """Receive until the disconnect. Return its facts and the number of messages before it."""
        messages = 0

        async def until_disconnect() -> Facts:
            nonlocal messages
            while True:
                event = dict(await self.receive())
                if event["type"] == "websocket.disconnect":
                    return {"code": event.get("code"), "reason": event.get("reason")}
                messages += 1

        return {**await attempt(until_disconnect, seconds), "messages": messages}


def _key(message: Message) -> str:
    return "text" if isinstance(message, str) else "bytes"


async def attempt(call: Callable[[], Awaitable[Facts | None]], seconds: float) -> Facts:
    """Await a call for a limited time. Return its outcome and its duration.

    Returns:
        `outcome` ("returned", "raised" or "hangs") and `seconds`. For an exception also `error`,
        `text` and `is_os_error`. Otherwise also what the call returned.
    """
    start = time.monotonic()
    facts: Facts = {"outcome": "hangs"}
    with anyio.move_on_after(seconds):
        try:
            facts = {"outcome": "returned", **(await call() or {})}
        except Exception as exc:  # noqa: BLE001 - the exception is the result
            facts = {"outcome": "raised", **described(exc)}
    return {**facts, "seconds": round(time.monotonic() - start, 3)}


def described(exc: BaseException) -> Facts:
    """Convert an exception to facts."""
    return {
        "error": f"{type(exc).__module__}.{type(exc).__qualname__}".removeprefix("builtins."),
        "text": str(exc)[:200],
        "is_os_error": isinstance(exc, OSError),
    }
