"""Autobahn's fuzzing server against our client and against bare trio-websocket, in one run.

    python tools/autobahn_client.py --wstest path/to/wstest

It fails when ours loses a case that the bare one passes. ``wstest`` needs CPython 2.7::

    virtualenv -p python2.7 py27 && py27/bin/pip install autobahntestsuite==25.10.1

Without it nothing is run, which is said, and the exit status is 77 (skipped).
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio_websocket

from wsnursery import Options, WebSocketDisconnected
from wsnursery.trio_websocket import connect

SKIPPED = 77
MAX_MESSAGE_SIZE = 32 * 1024 * 1024
CASE_SECONDS = 60
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}

Echo = Callable[[str], Awaitable[None]]
Verdicts = dict[str, tuple[str, str]]
"""By case: the behaviour, and the behaviour of the closing handshake."""


async def echo_ours(url: str) -> None:
    """Send back what the fuzzing server sends, with this library."""
    options = Options(max_message_size=MAX_MESSAGE_SIZE, ping_interval=None)
    with suppress(WebSocketDisconnected):
        async with connect(url, options=options) as ws:
            async for message in ws:
                await ws.send(message)


async def echo_bare(url: str) -> None:
    """The same, with trio-websocket alone."""
    with suppress(trio_websocket.ConnectionClosed):
        async with trio_websocket.open_websocket_url(
            url, max_message_size=MAX_MESSAGE_SIZE
        ) as connection:
            while True:
                await connection.send_message(await connection.get_message())


async def run_cases(agent: str, echo: Echo, base: str) -> None:
    """Run every case with one agent and have the server write its report."""
    async with connect(f"{base}/getCaseCount") as ws:
        count = int(await ws.receive())
    for case in range(1, count + 1):
        with trio.move_on_after(CASE_SECONDS):
            await echo_quietly(echo, f"{base}/runCase?case={case}&agent={agent}")
        if case % 25 == 0 or case == count:
            print(f"{agent}: {case} of {count}", flush=True)
    with suppress(WebSocketDisconnected):  # the server closes when the reports are written
        async with connect(f"{base}/updateReports?agent={agent}") as ws:
            await ws.receive()


async def echo_quietly(echo: Echo, url: str) -> None:
    """What escapes a client is the verdict's business, not the run's."""
    try:
        await echo(url)
    except* Exception as group:  # noqa: BLE001 - the run goes on
        print(f"{url}: {group.exceptions!r}", file=sys.stderr)


def free_port() -> int:
    """A port of the loopback interface that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def fuzz(wstest: str, cases: list[str], directory: Path) -> dict[str, Verdicts]:
    """Start the server, run both agents, read its verdicts."""
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    spec: dict[str, object] = {
        "url": url,
        "outdir": str(directory / "reports"),
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (directory / "spec.json").write_text(json.dumps(spec))
    command = [wstest, "-m", "fuzzingserver", "-s", str(directory / "spec.json"), "-w", "0"]
    async with trio.open_nursery() as nursery:
        run_server = partial(
            trio.run_process,
            command,
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        server: trio.Process = await nursery.start(run_server)
        await until_it_answers(port)
        for agent, echo in (("bare", echo_bare), ("wsnursery", echo_ours)):
            await run_cases(agent, echo, url)
        server.terminate()
    index: dict[str, Any] = json.loads((directory / "reports" / "index.json").read_text())
    return {
        agent: {
            case: (verdict["behavior"], verdict["behaviorClose"]) for case, verdict in of.items()
        }
        for agent, of in index.items()
    }


async def until_it_answers(port: int) -> None:
    """Wait until the server listens."""
    with trio.fail_after(30):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.1)
            else:
                await stream.aclose()
                return


def compare(verdicts: dict[str, Verdicts]) -> int:
    """Print what both agents got; return how many cases ours alone has lost."""
    for agent, of in sorted(verdicts.items()):
        for what, index in (("cases", 0), ("closes", 1)):
            counts: dict[str, int] = {}
            for verdict in of.values():
                counts[verdict[index]] = counts.get(verdict[index], 0) + 1
            print(f"{agent:10} {what:7} {dict(sorted(counts.items()))}")
    lost = 0
    for case, bare in verdicts["bare"].items():
        ours = verdicts["wsnursery"][case]
        for what, was, now in zip(("case", "close"), bare, ours, strict=True):
            if was in PASSED and now not in PASSED:
                lost += 1
                print(f"lost: {what} of {case}: bare {was}, ours {now}")
            elif was not in PASSED and now in PASSED:
                print(f"won:  {what} of {case}: bare {was}, ours {now}")
    return lost


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wstest", default="wstest", help="the fuzzing server's executable")
    parser.add_argument("--cases", nargs="*", default=[f"{group}.*" for group in range(1, 11)])
    arguments = parser.parse_args()
    name: str = arguments.wstest
    wstest = shutil.which(name)
    if wstest is None:
        print(f"SKIPPED: no {name!r} here; it needs CPython 2.7, see --help")
        return SKIPPED
    with tempfile.TemporaryDirectory() as directory:
        verdicts = trio.run(fuzz, str(Path(wstest).resolve()), arguments.cases, Path(directory))
    lost = compare(verdicts)
    print(f"{lost} lost")
    return min(lost, 1)


if __name__ == "__main__":
    sys.exit(main())
