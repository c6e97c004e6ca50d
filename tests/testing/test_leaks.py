"""no_leaks()."""

import anyio
import pytest

from tests.testing.test_client import echo
from wsnursery import testing


async def test_nothing_left():
    async with testing.no_leaks(), testing.connect(echo) as client:
        await client.send("a")
        assert await client.receive() == "a"


async def test_a_task_left():
    async with anyio.create_task_group() as tasks:
        with pytest.raises(testing.Leak, match=r"tasks were left running: .*sleep_forever"):
            async with testing.no_leaks():
                tasks.start_soon(anyio.sleep_forever)
        tasks.cancel_scope.cancel()


async def test_messages_left():
    server = testing.Server()
    with pytest.raises(testing.Leak, match="1 messages of the peer"):
        async with testing.no_leaks(server.peer):
            await server.peer.send("a")
    await server.receive()
    await server.send({"type": "websocket.accept"})
    await server.receive()
    with pytest.raises(testing.Leak, match="1 messages of the application"):
        async with testing.no_leaks(server.peer):
            await server.send({"type": "websocket.send", "text": "a"})
    await server.peer.receive()
    async with testing.no_leaks(server.peer):
        pass


async def test_the_error_of_the_block_comes_first():
    with pytest.raises(RuntimeError, match="mine"):
        async with testing.no_leaks():
            raise RuntimeError("mine")


def test_a_cancel_scope_left():
    # Not with the plugin: the task that does this is broken afterwards.
    async def main():
        async with testing.no_leaks():
            anyio.CancelScope().__enter__()

    for name in ("asyncio", "trio"):
        backend, options = testing.virtual_backend(name)
        with pytest.raises(testing.Leak, match="a cancel scope was entered"):
            anyio.run(main, backend=backend, backend_options=options)
