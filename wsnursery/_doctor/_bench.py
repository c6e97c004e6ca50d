"""The application's side of a probe: the raw triple, and the channel to who runs the doctor.

The channel is a blocking socket on the loopback interface, for a note must also get out of a task
that is being cancelled, and an event loop that a probe has frozen must not freeze it.
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
"""Where the application finds the port of the channel."""


class ControlChannel:
    """Lines of JSON: notes and orders go out, results of orders come in.

    Args:
        line: A connected socket.
        connection: The name of the connection, for whoever listens.
    """

    def __init__(self, line: socket.socket, connection: str) -> None:
        self._line = line
        self._unread = b""
        self._put({"connection": connection})

    @classmethod
    def open(cls, connection: str) -> Self:
        """Connect to the port that the environment names."""
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
        # With something unread in it, closing would reset the line and take back our last notes.
        self._line.setblocking(False)
        with suppress(OSError):  # nothing more, or nobody there
            while self._line.recv(65536):
                pass
        self._line.close()

    def note(self, **facts: Any) -> None:
        """Tell what was observed. No checkpoint."""
        self._put({"facts": facts})

    def order(self, action: str, **arguments: Any) -> None:
        """Have the client do something, without waiting for it. No checkpoint."""
        self._put({"order": action, "arguments": arguments})

    async def ask(self, action: str, **arguments: Any) -> Any:
        """Have the client do something; wait for it and give its result. One at a time."""
        self._put({"order": action, "arguments": arguments, "answer": True})
        while b"\n" not in self._unread:
            await anyio.wait_readable(self._line)
            self._unread += self._line.recv(65536)
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)["result"]

    def _put(self, message: Facts) -> None:
        self._line.sendall(json.dumps(message).encode() + b"\n")


class Bench:
    """One connection of the server and the channel about it.

    Args:
        scope: The ASGI scope.
        receive: The ASGI receive.
        send: The ASGI send.
        channel: The channel.
        variant: Which variant of the probe runs.
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
        """Send a message the raw way."""
        await self.send({"type": "websocket.send", _key(message): message})

    async def end_of_input(self, seconds: float) -> Facts:
        """Receive until the disconnect: how that went, with the messages before it."""
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
    """Await a call for a while: what came of it, and after how long.

    Returns:
        `outcome` ("returned", "raised" or "hangs"), `seconds`, for an exception its `error`, `text`
        and `is_os_error`, else what the call returned.
    """
    start = time.monotonic()
    facts: Facts = {"outcome": "hangs"}
    with anyio.move_on_after(seconds):
        try:
            facts = {"outcome": "returned", **(await call() or {})}
        except Exception as exc:  # noqa: BLE001 - it is what is looked for
            facts = {"outcome": "raised", **described(exc)}
    return {**facts, "seconds": round(time.monotonic() - start, 3)}


def described(exc: BaseException) -> Facts:
    """An exception as facts."""
    return {
        "error": f"{type(exc).__module__}.{type(exc).__qualname__}".removeprefix("builtins."),
        "text": str(exc)[:200],
        "is_os_error": isinstance(exc, OSError),
    }
