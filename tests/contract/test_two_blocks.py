"""L6: one block for one ASGI scope, entered and left by the same task."""

import subprocess
import sys

import anyio
import pytest

from tests.contract._bench import BACKENDS, block, run_all
from wsnursery import LocalProtocolError, WebSocket, open_websocket, testing

REFUSED = (RuntimeError, LocalProtocolError)


# contract: L6
@pytest.mark.parametrize("when", ["before accept", "open", "in a child", "closed"])
async def test_a_second_block_on_one_scope_is_refused_at_entry(when: str) -> None:
    server = testing.Server()

    async def second() -> None:
        before = anyio.current_time()
        with pytest.raises(LocalProtocolError, match="scope"), anyio.fail_after(1):
            async with open_websocket(server.scope, server.receive, server.send) as other:
                await other.accept()
        assert anyio.current_time() == before

    async def body(ws: WebSocket) -> None:
        if when == "before accept":
            await second()
        await ws.accept()
        if when == "open":
            await second()
        if when == "in a child":
            ws.start_soon(second)
            await anyio.sleep(1)
        await server.peer.send("hello")
        assert await ws.receive() == "hello"
        await ws.send("and you")
        assert await server.peer.receive() == "and you"
        if when == "closed":
            await ws.close()
            await second()

    ended = await block(server, body)
    assert ended.error is None


# contract: L6
async def test_a_second_block_after_the_first_is_refused_too() -> None:
    server = testing.Server()
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
    with pytest.raises(LocalProtocolError, match="scope"), anyio.fail_after(1):
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()


# contract: L6
async def test_a_websocket_that_is_opened_and_never_entered_takes_nothing() -> None:
    """Opening alone does not make a block: the one that is entered has the connection."""
    server = testing.Server()
    open_websocket(server.scope, server.receive, server.send)

    async def body(ws: WebSocket) -> None:
        await ws.accept()

    ended = await block(server, body)
    assert ended.error is None


# contract: L6
@pytest.mark.parametrize("backend", BACKENDS)
def test_leaving_in_another_task_is_refused_and_changes_nothing(backend: str) -> None:
    async def main() -> None:
        server = testing.Server()
        ws = open_websocket(server.scope, server.receive, server.send)
        entered, go_on = anyio.Event(), anyio.Event()

        async def owner() -> None:
            async with ws:
                await ws.accept()
                entered.set()
                await go_on.wait()
                await ws.send("still open")

        async with testing.no_leaks(), anyio.create_task_group() as tasks:
            tasks.start_soon(owner)
            await entered.wait()
            before = anyio.current_time()
            with pytest.raises(REFUSED, match="task"), anyio.fail_after(1):
                await ws.__aexit__(None, None, None)
            assert anyio.current_time() == before
            go_on.set()
            assert await server.peer.receive() == "still open"
        assert server.transcript.app_close == (1000, "")

    run_all(backend, [("another task", main)])


UNITTEST = """
import asyncio, unittest
from wsnursery import open_websocket, testing

_, options = testing.virtual_backend("asyncio")

class Case(unittest.IsolatedAsyncioTestCase):
    loop_factory = staticmethod(options["loop_factory"])  # from CPython 3.13 on

    def _setupAsyncioRunner(self):  # before it
        self._asyncioRunner = asyncio.Runner(**options)

    async def asyncSetUp(self):
        self.server = testing.Server()
        ws = open_websocket(self.server.scope, self.server.receive, self.server.send)
        self.ws = await self.enterAsyncContext(ws)
        await self.ws.accept()

    async def test_receive(self):
        await self.server.peer.send("hello")
        self.assertEqual(await self.ws.receive(), "hello")

result = unittest.TestResult()
Case("test_receive").run(result)
for _, traceback in result.errors + result.failures:
    print(traceback.strip().splitlines()[-1])
"""


# contract: L6
def test_unittest() -> None:
    """Its set-up, its tests and its clean-up are separate tasks.

    Run it in its own process, because a block that is not left warns when it is garbage collected.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", UNITTEST],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    (problem,) = done.stdout.splitlines()
    assert problem.startswith(("RuntimeError", "wsnursery.LocalProtocolError"))
    assert "task" in problem
