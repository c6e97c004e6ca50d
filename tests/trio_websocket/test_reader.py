"""The tasks behind a connection."""

import pytest
import trio
from trio.testing import memory_stream_pair

from wsnursery.testing import virtual_backend
from wsnursery.trio_websocket._reader import (
    LINGER_SECONDS,
    BackgroundTasks,
    lingering,
    shielded_nursery,
)
from wsnursery.trio_websocket._stream import WatchedStream


@pytest.fixture
def anyio_backend():
    return virtual_backend("trio")


# ------------------------------------------------------------------------------- shielded nursery


async def test_tasks_outlive_a_cancellation_and_not_the_block():
    lived = trio.Event()
    ended = trio.Event()

    async def live() -> None:
        try:
            await trio.sleep(1)
            lived.set()
            await trio.sleep_forever()
        finally:
            ended.set()

    with trio.CancelScope() as outside:
        async with shielded_nursery() as nursery:
            nursery.start_soon(live)
            outside.cancel()
            with trio.CancelScope(shield=True):
                await lived.wait()
    assert ended.is_set()


@pytest.mark.parametrize("error", [LookupError("x"), ExceptionGroup("mine", [ValueError("x")])])
async def test_what_the_block_raises_leaves_bare(error: Exception):
    with pytest.raises(type(error)) as caught:
        async with shielded_nursery():
            raise error
    assert caught.value is error


async def test_cancellation_leaves_bare():
    with trio.CancelScope() as scope:
        async with shielded_nursery():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancelled_before_it_begins():
    with trio.CancelScope() as scope:
        scope.cancel()
        async with shielded_nursery():
            raise AssertionError("the block must not run")
    assert scope.cancelled_caught


# contract: X6
async def test_interrupt_in_a_task():
    async def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with shielded_nursery() as nursery:
            nursery.start_soon(interrupt)
            await trio.sleep_forever()


# ------------------------------------------------------------------------------- background tasks


async def test_a_reader_that_fails():
    bug = ZeroDivisionError("bug")

    async def fail() -> None:
        raise bug

    async with shielded_nursery() as nursery:
        tasks = BackgroundTasks(nursery)
        tasks.start_soon(fail)
        await tasks.peer_ended.wait()
        assert tasks.reader_ended.is_set()
        assert tasks.error is bug


async def test_other_tasks():
    done = trio.Event()

    async def work() -> None:
        done.set()

    async with shielded_nursery() as nursery:
        BackgroundTasks(nursery).run(work)
        await done.wait()


# --------------------------------------------------------------------------------------- lingering


async def test_lingering_until_the_peer_has_read_to_the_end():
    ours, theirs = memory_stream_pair()
    stream = WatchedStream(ours)
    async with shielded_nursery() as nursery:
        tasks = BackgroundTasks(nursery)

        async def peer() -> None:
            await trio.sleep(0.1)
            tasks.reader_ended.set()
            await theirs.send_all(b"still sending")
            await trio.sleep(0.1)
            await theirs.send_stream.aclose()

        nursery.start_soon(peer)
        async with lingering(stream, tasks, lambda: True):
            pass
    assert trio.current_time() == pytest.approx(0.2)


async def test_lingering_is_bounded():
    ours, _ = memory_stream_pair()
    stream = WatchedStream(ours)
    async with (
        shielded_nursery() as nursery,
        lingering(stream, BackgroundTasks(nursery), lambda: True),
    ):
        pass
    assert trio.current_time() == LINGER_SECONDS


async def test_lingering_behind_a_closed_stream():
    ours, _ = memory_stream_pair()
    await ours.aclose()
    async with shielded_nursery() as nursery:
        tasks = BackgroundTasks(nursery)
        tasks.reader_ended.set()
        async with lingering(WatchedStream(ours), tasks, lambda: True):
            pass
    assert trio.current_time() == 0


async def test_no_lingering_behind_half_a_frame():
    ours, _ = memory_stream_pair()
    stream = WatchedStream(ours)
    stream.torn = True
    async with (
        shielded_nursery() as nursery,
        lingering(stream, BackgroundTasks(nursery), lambda: True),
    ):
        pass
    assert trio.current_time() == 0


async def test_no_lingering_without_a_close_frame():
    ours, _ = memory_stream_pair()
    stream = WatchedStream(ours)
    async with (
        shielded_nursery() as nursery,
        lingering(stream, BackgroundTasks(nursery), lambda: False),
    ):
        pass
    assert trio.current_time() == 0
