"""A client on trio that follows a room of the chat, and resumes without missing an event.

``pip install -e '.[trio-websocket]'``, start ``examples.applications.chat``, log in with
``curl -i -X POST 'http://127.0.0.1:8000/login?name=Ann'``, then, with the cookie that you get::

    python -m examples.applications.follow ws://127.0.0.1:8000/rooms/lobby SESSION

Cut the network or restart the server: the client reconnects with the position of the last event
that it has passed on, and the room sends the later events, each of them once.
"""

import json
import random
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from wsnursery import Options
from wsnursery.trio_websocket import HandshakeRejected, connect

FIRST_PAUSE = 0.5
"""The longest first pause, in seconds. It doubles with every attempt that fails."""

LONGEST_PAUSE = 30.0
"""The longest pause, in seconds. A pause is random, so that clients do not reconnect together."""

OPTIONS = Options(ping_interval=15, ping_timeout=10)
"""A connection on which a ping is not answered for that long ends abnormally."""


class Refused(Exception):
    """The server refuses this client, so another attempt would not help."""


@dataclass
class Follower:
    """Follows a room over any number of connections.

    Attributes:
        url: The room.
        session: The value of the cookie.
        seen: The position of the newest event that was passed on.
        connections: The number of connections so far.
    """

    url: str
    session: str
    seen: str = ""
    connections: int = 0
    _pause: float = field(default=FIRST_PAUSE, repr=False)

    async def run(self, events: "trio.MemorySendChannel[dict[str, Any]]") -> None:
        """Put every event into a channel, once, until cancelled.

        Raises:
            Refused: The server does not know the session.
        """
        while True:
            try:
                async with self._connect() as ws:
                    self.connections += 1
                    async for message in ws:
                        await self._give_out(json.loads(message), events)
            except HandshakeRejected as exc:
                if exc.status in (401, 403, 404):
                    raise Refused(str(exc)) from exc
            except OSError as exc:  # not reachable, or the connection has ended
                print(f"reconnecting: {exc}", file=sys.stderr)
            await trio.sleep(random.uniform(0, self._pause))  # noqa: S311 - not for cryptography
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _connect(self) -> Any:
        cookie = (b"cookie", f"session={self.session}".encode())
        return connect(f"{self.url}?after={self.seen}", headers=[cookie], options=OPTIONS)

    async def _give_out(
        self, message: dict[str, Any], events: "trio.MemorySendChannel[dict[str, Any]]"
    ) -> None:
        self._pause = FIRST_PAUSE  # this connection works, so start the pauses again
        if "event" in message:
            await events.send(message["event"])
            # Set after the call above, because the end of the connection may cancel that call.
            self.seen = message["at"]


async def main(url: str, session: str) -> None:
    send, receive = trio.open_memory_channel[dict[str, Any]](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Follower(url, session).run, send)
        async for event in receive:
            print(event, flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main, sys.argv[1], sys.argv[2])
