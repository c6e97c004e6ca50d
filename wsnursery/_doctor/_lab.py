"""Conversations with the server under examination, each with a client and a script."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from ._client import TEXT, Facts, ProbeClient, frame
from ._commands import Command
from ._process import HOST, ServerProcess, started
from ._robot import OUTLOOK, Robot, lines

REPORT = 5.0
"""Seconds from a handshake until its script must report."""

SCRIPT_SECONDS = 12.0
"""Seconds that a script may take."""

EARLY = frame(TEXT, b"early")


class Lab:
    """A running server, and the listening socket to which its scripts report.

    Args:
        process: The server.
        desk: The listening socket.
    """

    def __init__(self, process: ServerProcess, desk: socket.socket) -> None:
        self.process = process
        self._desk = desk
        self._numbers = itertools.count()
        self._opening = threading.Lock()

    def run(
        self, scripts: Sequence[str], *, early: bool = False, receive_buffer: int | None = None
    ) -> dict[str, Facts]:
        """Run scripts at the same time, each with its own connection.

        Args:
            scripts: Kind, name and variant of each, as in "raw/leave/reset".
            early: Whether the clients send a message in the packet of the handshake.
            receive_buffer: The receive buffer of the clients, in bytes.

        Returns:
            The facts of each script. `over` is false if the server did not let the script end.
            `reached` is false if the server did not start it.
        """
        ready = threading.Barrier(len(scripts), action=self.process.terminate)
        terminate = partial(ready.wait, SCRIPT_SECONDS)
        open_client = partial(
            ProbeClient,
            (HOST, self.process.port),
            early=EARLY if early else b"",
            receive_buffer=receive_buffer,
        )

        def converse(script: str) -> Facts:
            try:
                return self._converse(script, open_client, terminate)
            except ConnectionError:
                return {"over": False, "reached": False}

        with ThreadPoolExecutor(len(scripts)) as pool:
            try:
                return dict(zip(scripts, pool.map(converse, scripts), strict=True))
            except BaseException:  # Ctrl-C
                self.process.kill()  # ends the conversations for which the pool waits
                raise

    def _converse(
        self,
        script: str,
        open_client: Callable[[str], ProbeClient],
        terminate: Callable[[], object],
    ) -> Facts:
        with ExitStack() as stack:
            with self._opening:  # so that the next report belongs to this client
                name = f"c{next(self._numbers)}"
                client = stack.enter_context(closing(open_client(f"/{script}?{name}")))
                line = self._reported(name)
                if line is None:
                    return {"over": True, "reached": False, "client": client.outlook(OUTLOOK)}
                stack.enter_context(line)
            return {"reached": True, **Robot(line, client, terminate).obey(SCRIPT_SECONDS)}

    def _reported(self, name: str) -> socket.socket | None:
        self._desk.settimeout(REPORT)
        while True:
            try:
                line, _ = self._desk.accept()
            except TimeoutError:
                return None
            first = next(lines(line, time.monotonic() + REPORT), Facts())
            if first.get("connection") == name:
                return line
            line.close()  # the report of an abandoned connection


@contextmanager
def opened_lab(command: Command) -> Generator[Lab]:
    """Start the server, and end it afterwards.

    Raises:
        CannotExamine: The server does not start.
    """
    with (
        socket.create_server((HOST, 0)) as desk,
        started(command, desk.getsockname()[1]) as process,
    ):
        yield Lab(process, desk)
