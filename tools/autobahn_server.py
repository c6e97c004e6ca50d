"""Autobahn's fuzzing client against an echo of ours and a bare one, on the same server, in one job.

    python tools/autobahn_server.py [--cases '*'] [--server 'uvicorn {app} --port {port}']
    python tools/autobahn_server.py --without-asgi

The first form serves both with an ASGI server (Hypercorn on trio, unless you name another), the
second with `wsnursery.trio_websocket.serve` and bare trio-websocket. It fails when ours loses a
case that the bare one passes. ``wstest`` needs CPython 2.7; without it nothing is run, which is
said, and the exit status is 77 (skipped).
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio_websocket
from _autobahn import (
    MAX_MESSAGE_SIZE,
    QUICK,
    SKIPPED,
    count_lost,
    find_wstest,
    free_port,
    print_table,
    read_reports,
    until_it_answers,
    write_spec,
)

from wsnursery import Options, WebSocket, websocket_app
from wsnursery.trio_websocket import serve

HYPERCORN = "hypercorn -k trio -b 127.0.0.1:{port} --log-level CRITICAL {app}"

OPTIONS = Options(max_message_size=MAX_MESSAGE_SIZE, ping_interval=None)

Urls = dict[str, str]


async def echo(ws: WebSocket) -> None:
    """Send everything back, with this library."""
    await ws.accept()
    async for message in ws:
        await ws.send(message)


async def echo_bare(receive: Any, send: Any) -> None:
    """The same against ASGI itself."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        message = {key: event[key] for key in ("text", "bytes") if event.get(key) is not None}
        await send({"type": "websocket.send", **message})


async def echo_bare_trio(request: trio_websocket.WebSocketRequest) -> None:
    """The same with trio-websocket alone."""
    connection = await request.accept()
    with suppress(trio_websocket.ConnectionClosed):
        while True:
            await connection.send_message(await connection.get_message())


ours = websocket_app(echo, options=OPTIONS)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Both echoes, by path."""
    if scope["type"] == "websocket" and scope["path"] == "/bare":
        await echo_bare(receive, send)
    else:
        await ours(scope, receive, send)


@asynccontextmanager
async def asgi_server(command: str) -> AsyncGenerator[Urls]:
    """Serve `app` with a server of the command line."""
    port = free_port()
    arguments = command.format(port=port, app="autobahn_server:app")
    run = partial(
        trio.run_process,
        [sys.executable, "-m", *shlex.split(arguments)],
        cwd=Path(__file__).parent,
        check=False,
    )
    async with trio.open_nursery() as nursery:
        server: trio.Process = await nursery.start(run)
        await until_it_answers(port)
        base = f"ws://127.0.0.1:{port}"
        yield {"bare": f"{base}/bare", "wsnursery": f"{base}/ours"}
        server.terminate()


@asynccontextmanager
async def trio_servers() -> AsyncGenerator[Urls]:
    """Serve both with trio-websocket, on two ports."""
    serve_bare = partial(trio_websocket.serve_websocket, max_message_size=MAX_MESSAGE_SIZE)
    async with trio.open_nursery() as nursery:
        bare: Any = await nursery.start(serve_bare, echo_bare_trio, "127.0.0.1", 0, None)
        ours = await nursery.start(partial(serve, options=OPTIONS), echo, "127.0.0.1", 0)
        ports = {"bare": bare.port, "wsnursery": ours.port}
        yield {agent: f"ws://127.0.0.1:{port}/" for agent, port in ports.items()}
        nursery.cancel_scope.cancel()


async def fuzz(wstest: Path, cases: list[str], directory: Path, command: str | None) -> None:
    """Start what is asked for, and run the fuzzing client against both echoes."""
    async with asgi_server(command) if command is not None else trio_servers() as urls:
        servers = [{"agent": agent, "url": url} for agent, url in urls.items()]
        spec = write_spec(directory, cases, servers=servers, options={"failByDrop": False})
        await trio.run_process(
            [str(wstest), "-m", "fuzzingclient", *spec], cwd=directory, stdout=subprocess.DEVNULL
        )


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wstest", help="the testsuite's executable")
    parser.add_argument("--cases", nargs="*", default=QUICK)
    parser.add_argument("--server", default=HYPERCORN, help="with {port} and {app}")
    parser.add_argument("--without-asgi", action="store_true")
    arguments = parser.parse_args()
    wstest = find_wstest(arguments.wstest)
    if wstest is None:
        return SKIPPED
    command = None if arguments.without_asgi else arguments.server
    with tempfile.TemporaryDirectory() as directory:
        trio.run(fuzz, wstest, arguments.cases, Path(directory), command)
        verdicts = read_reports(Path(directory))
    print_table(verdicts)
    lost = count_lost(verdicts["bare"], verdicts["wsnursery"])
    print(f"{lost} lost")
    return min(lost, 1)


if __name__ == "__main__":
    sys.exit(main())
