"""Virtual time on asyncio."""

import asyncio
import socket
import threading
import time

import pytest

from wsnursery.testing import Deadlock
from wsnursery.testing._virtual_asyncio import VirtualEventLoop


def run(func):
    with asyncio.Runner(loop_factory=VirtualEventLoop) as runner:
        return runner.run(func())


def test_time_jumps():
    async def main():
        loop = asyncio.get_running_loop()
        assert loop.time() == 0
        await asyncio.sleep(3600)
        return loop.time()

    real = time.monotonic()
    assert run(main) == 3600
    assert time.monotonic() - real < 5


def test_nothing_that_could_happen():
    async def main():
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match=r"waits in .*main \(test_virtual_asyncio.py:\d+\)"):
        run(main)


def test_sockets_work():
    async def main():
        left, right = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=left)
        right.send(b"hello")
        async with asyncio.timeout(5):
            data = await reader.read(5)
        # A socket that has a modified registration, and time that does not jump over what is ready.
        writer.write(b"x" * 1_000_000)
        received = await asyncio.to_thread(right.recv, 10)
        writer.transport.abort()
        right.close()
        await asyncio.sleep(0)
        return data, received

    assert run(main) == (b"hello", b"x" * 10)


def test_another_thread_may_wake_it():
    async def main():
        event = asyncio.Event()
        loop = asyncio.get_running_loop()
        timer = threading.Timer(0.05, lambda: loop.call_soon_threadsafe(event.set))
        timer.start()
        await event.wait()

    run(main)


def test_every_turn_may_stop_it():
    class StopNow(BaseException):
        pass

    def stop():
        if turns:
            turns.pop()
            raise StopNow

    turns = []

    async def main():
        turns.append(1)
        await asyncio.sleep(1)

    with (
        pytest.raises(StopNow),
        asyncio.Runner(loop_factory=lambda: VirtualEventLoop(stop)) as runner,
    ):
        runner.run(main())
