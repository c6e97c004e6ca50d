"""A server in a process of its own, and what it uses."""

from __future__ import annotations

import ctypes
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psutil


class ServerProcess:
    """A server that runs.

    Attributes:
        address: where it listens.
    """

    def __init__(self, process: subprocess.Popen[str], address: tuple[str, int]) -> None:
        self._process = process
        self._clock = _cpu_clock(process.pid)
        self._usage = psutil.Process(process.pid)
        self.address: tuple[str, int] = address

    def cpu_seconds(self) -> float:
        """CPU time that it has used until now, to the nanosecond."""
        return time.clock_gettime(self._clock)

    def memory(self) -> int:
        """Bytes that only it uses."""
        return int(self._usage.memory_full_info().uss)

    def descriptors(self) -> int:
        """Open file descriptors."""
        return int(self._usage.num_fds())

    def facts(self) -> dict[str, int]:
        """The tasks and objects that live in it."""
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGUSR1)
        facts: dict[str, int] = json.loads(self._process.stdout.readline())
        return facts

    def wait_until_idle(self, descriptors: int, limit: float = 120.0) -> float:
        """Wait until it has no more descriptors than that and does nothing; the seconds it took.

        One more does not count: with many connections uvloop opens one for itself and keeps it.

        Raises:
            TimeoutError: It has not come to that.
        """
        start = time.perf_counter()
        idle_since, used = start, self.cpu_seconds()
        while (now := time.perf_counter()) - start < limit:
            time.sleep(0.02)
            before, used = used, self.cpu_seconds()
            if used - before > 0.001 or self.descriptors() > descriptors + 1:
                idle_since = time.perf_counter()
            elif now - idle_since > 0.5:
                return idle_since - start
        raise TimeoutError(f"It still has {self.descriptors()} descriptors, not {descriptors}")


@contextmanager
def running(server: str, app: str) -> Generator[ServerProcess, None, None]:
    """Start a server with an application; it is killed at the end."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    number = listener.fileno()
    module = "benchmarks.endtoend._host"
    command = [sys.executable, "-W", "ignore", "-m", module, server, app, str(number)]
    with listener:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[number])
        address: Any = listener.getsockname()
    with process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{server} did not start with {app}; see above")
            yield ServerProcess(process, address)
        finally:
            process.kill()


def _cpu_clock(pid: int) -> int:
    """POSIX's `clock_getcpuclockid`: /proc counts in hundredths of a second."""
    clock = ctypes.c_int()
    if error := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(error, "clock_getcpuclockid")
    return clock.value
