"""The commands of one session: scripts by their hash. A refused command ends the session."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import _scripts
from ._connection import Argument, RedisConnection, RedisError, Reply
from ._scripts import Keys

ALL_SCRIPTS = (
    _scripts.PUBLISH,
    _scripts.SYNCHRONIZE,
    _scripts.ANNOUNCE,
    _scripts.RETRACT,
    _scripts.LOOK,
    _scripts.BEAT,
)


class Commands:
    """Sends commands, and ends the session if Redis refuses one.

    Redis refuses for temporary reasons (it is out of memory, it is loading, it has become a
    replica, its scripts were flushed), so every refusal is treated like a lost connection.

    Args:
        connection: The connection to Redis.
        keys: The names of the keys.
        fail: Ends the session.
    """

    def __init__(
        self, connection: RedisConnection, keys: Keys, fail: Callable[[Exception], None]
    ) -> None:
        self.connection = connection
        self.keys = keys
        self._fail = fail
        self._hashes: dict[str, bytes] = {}

    async def load(self) -> None:
        """Load the scripts into Redis."""
        for script in ALL_SCRIPTS:
            self._hashes[script] = await self.connection.call("SCRIPT", "LOAD", script)

    def run(
        self,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        then: Callable[[Reply], None] | None = None,
    ) -> None:
        """Run a script. Never waits."""
        command = ("EVALSHA", self._hashes[script], len(keys), *keys, *arguments)
        self.request(*command, then=then)

    def request(
        self, *command: str | bytes | float, then: Callable[[Reply], None] | None = None
    ) -> None:
        """Send a command. Never waits."""

        def take(reply: Reply) -> None:
            if isinstance(reply, RedisError):
                self._fail(reply)
            elif then is not None:
                then(reply)

        self.connection.request(*command, then=take)
