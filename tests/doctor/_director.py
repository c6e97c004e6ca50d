"""The other end of a script, in memory: it does with the peer what the script orders."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from wsnursery._doctor._bench import Bench, ControlChannel
from wsnursery._doctor._raw import Script
from wsnursery.testing import ConnectionEnded, Personality, Server


class Director:
    """Stands in for the channel, the robot and the client.

    Args:
        personality: How the server behaves.
        variant: Which variant of the script runs.
    """

    def __init__(self, personality: Personality, variant: str = "") -> None:
        self.server = Server(personality=personality, receive_queue=10_000)
        self.facts: dict[str, Any] = {}
        self.orders: list[str] = []
        self.on_terminate: Callable[[], object] = self.server.shut_down
        self.bench = Bench(
            self.server.scope,
            self.server.receive,
            self.server.send,
            cast("ControlChannel", self),
            variant,
        )
        self._to_do, self._orders = anyio.create_memory_object_stream[Any](100)

    async def run(self, script: Script) -> dict[str, Any]:
        """Run a script, and give its notes."""
        error: BaseException | None = None
        with self._to_do, self._orders:
            async with anyio.create_task_group() as group:
                group.start_soon(self._obey)
                try:
                    await script(self.bench)
                except Exception as exc:  # noqa: BLE001 - it goes on below
                    error = exc
                group.cancel_scope.cancel()
        if error is not None:
            raise error
        return self.facts

    async def seen_code(self) -> int | None:
        """The code of the close frame that the peer got."""
        with pytest.raises(ConnectionEnded) as caught:
            await self.server.peer.receive()
        return caught.value.code

    def note(self, **facts: Any) -> None:
        self.facts.update(facts)

    def order(self, action: str, **arguments: Any) -> None:
        self.orders.append(action)
        self._to_do.send_nowait((action, arguments, anyio.Event()))

    async def ask(self, action: str, **arguments: Any) -> Any:
        done = anyio.Event()
        self.orders.append(action)
        self._to_do.send_nowait((action, arguments, done))
        await done.wait()
        return arguments.get("limit", arguments.get("count"))

    async def _obey(self) -> None:
        async for action, arguments, done in self._orders:
            for _ in range(20):  # the script goes on for a moment
                await anyio.lowlevel.checkpoint()
            with suppress(ConnectionEnded):
                await self._do(action, arguments)
            done.set()

    async def _do(self, action: str, arguments: dict[str, Any]) -> None:
        peer = self.server.peer
        if action == "close_frame":
            peer.close(4001, "bye")
        elif action in ("reset", "fin", "half_close"):
            peer.vanish()
        elif action == "send":
            for number in range(arguments["count"]):
                peer.send_nowait(str(number))
        elif action == "read":
            for _ in range(arguments["count"]):
                await peer.receive()
        elif action == "terminate":
            self.on_terminate()
