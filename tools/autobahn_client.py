"""Autobahn's fuzzing server against our client and against bare trio-websocket, in one run.

    python tools/autobahn_client.py

It fails when ours loses a case that the bare one passes. ``wstest`` needs CPython 2.7; without it
nothing is run, which is said, and the exit status is 77 (skipped).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio
import trio_websocket
from _autobahn import (
    MAX_MESSAGE_SIZE,
    QUICK,
    SKIPPED,
    Verdicts,
    count_lost,
    find_wstest,
    free_port,
    print_table,
    read_reports,
    until_it_answers,
    write_spec,
)

from wsnursery import Options, WebSocketDisconnected
from wsnursery.trio_websocket import connect

CASE_SECONDS = 60

Echo = Callable[[str], Awaitable[None]]


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


async def fuzz(wstest: Path, cases: list[str], directory: Path) -> dict[str, Verdicts]:
    """Start the server, run both agents, read its verdicts."""
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    spec = write_spec(directory, cases, url=url)
    async with trio.open_nursery() as nursery:
        run_server = partial(
            trio.run_process,
            [str(wstest), "-m", "fuzzingserver", "-w", "0", *spec],
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
    return read_reports(directory)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wstest", help="the testsuite's executable")
    parser.add_argument("--cases", nargs="*", default=QUICK)
    arguments = parser.parse_args()
    wstest = find_wstest(arguments.wstest)
    if wstest is None:
        return SKIPPED
    with tempfile.TemporaryDirectory() as directory:
        verdicts = trio.run(fuzz, wstest, arguments.cases, Path(directory))
    print_table(verdicts)
    lost = count_lost(verdicts["bare"], verdicts["wsnursery"])
    print(f"{lost} lost")
    return min(lost, 1)


if __name__ == "__main__":
    sys.exit(main())
