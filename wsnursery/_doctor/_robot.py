"""The doctor's side of a probe: it carries out the orders of the script on the client."""

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
"""Seconds for the client to see the end of the connection, after the script has ended."""


class Robot:
    """Carries out the orders of one script until it ends.

    Args:
        line: The doctor's end of the channel. The name of the connection has already been read.
        client: The client of the connection.
        terminate: Stops the server, for scripts that order it.
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
        """Follow the script for a limited time.

        Returns:
            The notes of the script; `over`, whether it ended in time (also if the server killed
            it); and `client`, how the client saw the end.
        """
        facts: Facts = {"over": True}
        threads: list[threading.Thread] = []
        deadline = time.monotonic() + seconds
        try:
            for message in lines(self._line, deadline):
                facts.update(message.get("facts", {}))
                if "order" in message:
                    # In a thread, because a script may have several orders in progress.
                    threads.append(threading.Thread(target=self._do, args=[message], daemon=True))
                    threads[-1].start()
        except TimeoutError:
            facts["over"] = False
        for thread in threads:
            thread.join(5)
        return {**facts, "client": self._client.outlook(OUTLOOK)}

    def _do(self, message: Facts) -> None:
        with self._lock:  # one order after the other, in their sequence
            result = None
            with suppress(OSError):  # the server may have ended the connection first
                result = self._actions[message["order"]](**message["arguments"])
            if "answer" in message:
                with suppress(OSError):  # the script may have ended already
                    self._line.sendall(json.dumps({"result": result}).encode() + b"\n")


def lines(line: socket.socket, deadline: float) -> Iterator[Facts]:
    """Yield the incoming lines of JSON.

    Raises:
        TimeoutError: The deadline, on the monotonic clock, has passed.
    """
    unread = b""
    while True:
        line.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = line.recv(1)
        except ConnectionError:  # the server was killed, which ends the script too
            return
        if not data:
            return
        unread += data
        if data == b"\n":
            yield json.loads(unread)
            unread = b""
