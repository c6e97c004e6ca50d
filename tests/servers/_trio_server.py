"""Our own server over trio-websocket as a process: `python -m tests.servers._trio_server`."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import trio
from websockets.sync.client import connect

from tests.servers import _reports
from tests.servers._harness import ROOT, Running, wait_until
from tests.servers._libraries import REASON
from wsnursery import WebSocket
from wsnursery.trio_websocket import serve


class TrioServer(Running):
    """The test's side. It speaks nothing but WebSocket, so the stats come in a message."""

    def stats(self) -> dict[str, int]:
        with connect(self.url("/stats", "stats")) as client:
            stats: dict[str, int] = json.loads(client.recv(timeout=5))
            return stats


@contextmanager
def trio_server() -> Iterator[TrioServer]:
    """Start it on a free port. At the end nothing of the connections may be left in it.

    After SIGTERM it must end in time and by itself, and have logged nothing.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        (path / "report").touch()
        with (path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", __name__],
                cwd=ROOT,
                env={**os.environ, _reports.ENVIRONMENT_VARIABLE: str(path / "report")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert process.stdout is not None
        started = TrioServer(process, 0, path)
        try:
            port = process.stdout.readline()
            assert port, started.log
            started.port = int(port)
            before = started.settled_stats()
            yield started
            started.assert_nothing_left(before)
            started.terminate()
            assert process.wait(10) == 0, started.log
            assert wait_until(lambda: not started.processes_left(), 3)
            assert started.log == ""
        finally:
            started.kill()
            process.stdout.close()


# ------------------------------------------------------------------------------------- the process


async def handle(ws: WebSocket) -> None:
    """Run the handler of the path, with a child that ends only with the connection."""
    path = ws.scope["path"]
    if path == "/stats":
        await _stats(ws)
        return
    (connection,) = parse_qs(ws.scope["query_string"].decode())["id"]
    report = _reports.Reporter(connection)
    await ws.accept(next(iter(ws.subprotocols), None))
    await ws.start(_child, report)
    try:
        if path == "/close":
            await ws.receive()
            await ws.close(4002, REASON)
        else:
            async for message in ws:
                await ws.send(message)
    finally:
        report("ended", code=ws.close_code, reason=ws.close_reason)


async def _child(
    report: _reports.Reporter, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    try:
        task_status.started()
        await trio.sleep_forever()
    finally:
        report("child ended")


async def _stats(ws: WebSocket) -> None:
    await ws.accept()
    await ws.send_json(
        {
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "fds": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - trio has a Path of its own
        }
    )


async def main() -> None:
    """Serve until SIGTERM; the port is the first line of the output."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            listening = await nursery.start(serve, handle, "127.0.0.1", 0)
            print(listening.port, flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
