"""The doctor's side of a probe: it does with the client what the script orders."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from ._client import Facts, ProbeClient

OUTLOOK = 1.0
"""Seconds for the client to see how a connection ends, after the script has."""


class Robot:
    """Obeys one script until it ends.

    Args:
        line: The doctor's end of the channel; what identifies the connection has been read.
        client: The client of the connection.
        terminate: Tells the server to stop, for scripts that ask for it.
    """

    def __init__(
        self, line: socket.socket, client: ProbeClient, terminate: Callable[[], object]
    ) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._actions: dict[str, Callable[..., Any]] = {
            "close_frame": client.close_frame,
            "reset": client.reset,
            "fin": client.fin,
            "half_close": client.half_close,
            "send": client.send,
            "flood": client.flood,
            "read": client.read,
            "answer": client.answer,
            "terminate": terminate,
        }
        self._client = client

    def obey(self, seconds: float) -> Facts:
        """Follow the script for so many seconds at most.

        Returns:
            Its notes; with `over`: whether it ended in time (a server that kills it ends it too),
            and `client`: what the client saw of the end.
        """
        facts: Facts = {"over": True}
        threads: list[threading.Thread] = []
        deadline = time.monotonic() + seconds
        try:
            for message in lines(self._line, deadline):
                facts.update(message.get("facts", {}))
                if "order" in message:
                    # Beside the reading, for a script may have several things under way.
                    threads.append(threading.Thread(target=self._do, args=[message], daemon=True))
                    threads[-1].start()
        except TimeoutError:
            facts["over"] = False
        for thread in threads:
            thread.join(5)
        return {**facts, "client": self._client.outlook(OUTLOOK)}

    def _do(self, message: Facts) -> None:
        with self._lock:  # one order after the other, as they came
            result = None
            with suppress(OSError):  # the server may have ended the connection first
                result = self._actions[message["order"]](**message["arguments"])
            if "answer" in message:
                with suppress(OSError):  # the script may have ended already
                    self._line.sendall(json.dumps({"result": result}).encode() + b"\n")


def lines(line: socket.socket, deadline: float) -> Iterator[Facts]:
    """The lines of JSON that come in.

    Raises:
        TimeoutError: The deadline, on the monotonic clock, has passed.
    """
    unread = b""
    while True:
        line.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = line.recv(1)
        except ConnectionError:  # killed: as good as an end
            return
        if not data:
            return
        unread += data
        if data == b"\n":
            yield json.loads(unread)
            unread = b""
