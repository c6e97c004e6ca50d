"""docs/migrating.md: the handlers on trio-websocket, before and after, with clients on sockets."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio_websocket import serve_websocket

from examples.migrating import trio_websocket_after, trio_websocket_before
from tests.servers._clients import TEXT, RawClient, ServerGone
from wsnursery.trio_websocket import serve

BEFORE: Any = partial(serve_websocket, trio_websocket_before.feed, ssl_context=None)
AFTER: Any = partial(serve, trio_websocket_after.feed)
BOTH = pytest.mark.parametrize("server", [BEFORE, AFTER], ids=["before", "after"])


@asynccontextmanager
async def served(server: Any) -> AsyncGenerator[tuple[RawClient, trio.Event]]:
    """A client of a handler, which has its first tick; and whether the server has failed."""
    failed = trio.Event()

    async def watched(*, task_status: Any) -> None:
        try:
            await server(host="127.0.0.1", port=0, task_status=task_status)
        except Exception:  # noqa: BLE001 - that there was one is the result
            failed.set()

    async with trio.open_nursery() as nursery:
        port = (await nursery.start(watched)).port
        with RawClient(port) as client:
            assert await in_thread(client.open, "/") == 101
            assert await in_thread(client.read) == (TEXT, b"tick 1")
            yield client, failed
        nursery.cancel_scope.cancel()


async def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    return await trio.to_thread.run_sync(call, *arguments)


@BOTH
def test_talk(server: Any) -> None:
    async def main() -> None:
        async with served(server) as (client, failed):
            client.send("hello")
            assert await in_thread(client.read) == (TEXT, b"you said 'hello'")
            client.close(1000)
            assert await in_thread(client.read_close) == (1000, "")
            assert not failed.is_set()

    trio.run(main)


@BOTH
def test_handler_fails(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with served(server) as (client, failed):
            client.send("fail")
            code, _ = await in_thread(client.read_close)
            client.close(code)
            if server is AFTER:
                assert code == 1011
                with pytest.raises(ServerGone):
                    await in_thread(client.read)
                assert not failed.is_set()
            else:
                assert code == 1000
                with trio.fail_after(5):
                    await failed.wait()  # the exception of one connection ends the server

    trio.run(main)
    logged = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert logged == (["a bug of the application"] if server is AFTER else [])


@BOTH
def test_client_resets_while_the_handler_is_busy(server: Any) -> None:
    async def main() -> None:
        async with served(server) as (client, failed):
            client.send("slow")
            await trio.sleep(0.1)
            client.reset()
            await trio.sleep(1.5)  # the next tick is sent to a client that is gone
            assert failed.is_set() == (server is BEFORE)

    trio.run(main)
