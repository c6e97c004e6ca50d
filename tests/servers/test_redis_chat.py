"""The chat over two server processes and one Redis: one of the two is killed."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import anyio
import pytest

from examples import resume
from tests.servers._browser import NAMES, browser, find_browser
from tests.servers._harness import ROOT, kill_group
from tests.servers._redis import needs_redis, redis_server

CHROMIUM = find_browser()

pytestmark = needs_redis


class Workers:
    """Two processes that accept connections of one socket."""

    def __init__(self, port: int, processes: "list[subprocess.Popen[bytes]]") -> None:
        self.port = port
        self._processes = processes

    def kill_one(self) -> None:
        kill_group(self._processes.pop(0))  # with the process that Hypercorn has started to serve


@contextmanager
def workers(backend: str) -> Iterator[Workers]:
    with redis_server() as redis, ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = int(listener.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "hypercorn",
            "-k",
            backend,
            "-b",
            f"fd://{listener.fileno()}",
        ]
        processes = [
            subprocess.Popen(
                [*command, "examples.chat:app"],
                cwd=ROOT,
                env=os.environ | {"CHAT_REDIS": redis.tcp_url},
                pass_fds=[listener.fileno()],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for _ in range(2)
        ]
        try:
            # Both are there when both follow the room's probe.
            until = time.monotonic() + 20
            while "*2\r\n" not in redis.cli("PUBSUB", "CHANNELS", "chat:probe:*")[:4]:
                assert time.monotonic() < until, "the workers do not start"
                time.sleep(0.05)
            yield Workers(port, processes)
        finally:
            for process in processes:
                kill_group(process)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_clients_that_resume_miss_nothing(backend: str) -> None:
    """Over wsnursery's client on trio, over websockets on asyncio."""
    connect = {"trio": resume.over_wsnursery, "asyncio": resume.over_websockets}[backend]
    said: list[list[str]] = [[] for _ in range(6)]
    missed: list[object] = []

    async def main(there: Workers) -> None:
        url = f"ws://127.0.0.1:{there.port}/"

        def apply_to(one: list[str]):
            def apply(message):
                if "said" in message:
                    one.append(message["said"]["text"])
                elif "missed" in message:
                    missed.append(message)

            return apply

        async def all_have(texts: list[str]) -> None:
            with anyio.fail_after(30):
                while any(one != texts for one in said):  # noqa: ASYNC110
                    await anyio.sleep(0.05)

        async with anyio.create_task_group() as group:
            for one in said:
                group.start_soon(resume.follow, connect, url, apply_to(one))
            await anyio.sleep(1)
            command = [sys.executable, "-c", SPEAK, url]
            await anyio.run_process([*command, "before"])
            await all_have(["before0", "before1"])
            await anyio.to_thread.run_sync(there.kill_one)
            await anyio.run_process([*command, "after"])
            await all_have(["before0", "before1", "after0", "after1"])
            group.cancel_scope.cancel()
        # A cancelled close of websockets goes on in the background.
        await anyio.sleep(0.5)

    with workers(backend) as there:
        anyio.run(main, there, backend=backend)
    assert missed == []


SPEAK = """
import sys
from websockets.sync.client import connect
with connect(f"{sys.argv[1]}?name=speaker") as ws:
    for number in range(2):
        ws.send(f"{sys.argv[2]}{number}")
    while f"{sys.argv[2]}1" not in ws.recv():
        pass
"""
"""Sends two messages, and receives the second one itself."""


@pytest.mark.skipif(CHROMIUM is None, reason=f"no Chromium here: install one of {', '.join(NAMES)}")
def test_a_page_comes_back_on_the_other_worker() -> None:
    assert CHROMIUM is not None
    with workers("trio") as there, browser(CHROMIUM) as chromium, ExitStack() as stack:
        page = f"http://127.0.0.1:{there.port}/"
        tabs = [stack.enter_context(chromium.tab(f"{page}#{name}")) for name in ("Ann", "Bob")]
        for tab in tabs:
            tab.wait_for("people.length == 2")
        tabs[0].evaluate("ws.send('one')")
        for tab in tabs:
            tab.wait_for("list.childElementCount == 1")
        there.kill_one()
        # A tab may learn later that its worker is dead, so another client speaks first.
        command = [sys.executable, "-c", SPEAK, f"ws://127.0.0.1:{there.port}/", "two"]
        subprocess.run(command, check=True, timeout=30)
        for tab in tabs:
            tab.wait_for("list.childElementCount == 3", timeout=30)
        tabs[1].evaluate("ws.send('three')")
        for tab in tabs:
            tab.wait_for("list.childElementCount == 4")
            said = tab.evaluate("[...list.children].map(item => item.textContent)")
            assert said == ["Bob: three", "speaker: two1", "speaker: two0", "Ann: one"]
