"""Virtual time."""

import hashlib
import time

import anyio
import anyio.to_thread
import pytest

from wsnursery import testing


def run(name, func):
    backend, options = testing.virtual_backend(name)
    return anyio.run(func, backend=backend, backend_options=options)


async def test_an_hour_costs_nothing():
    real = time.monotonic()
    start = anyio.current_time()
    with anyio.move_on_after(3600):
        await anyio.sleep_forever()
    assert anyio.current_time() == start + 3600
    assert time.monotonic() - real < 1


async def test_timers_fire_in_order():
    seen = []

    async def after(seconds):
        await anyio.sleep(seconds)
        seen.append(seconds)

    async with anyio.create_task_group() as tasks:
        for seconds in (3, 1, 2):
            tasks.start_soon(after, seconds)
    assert seen == [1, 2, 3]


async def test_threads_may_still_wake_us():
    # Work and not a sleep: some real time in which the loop has nothing to do.
    key = await anyio.to_thread.run_sync(hashlib.pbkdf2_hmac, "sha256", b"x", b"y", 50_000)
    assert len(key) == 32


async def test_all_tasks_blocked_is_not_a_deadlock():
    await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_the_time_starts_at_zero(name):
    async def now():
        return anyio.current_time()

    assert run(name, now) == run(name, now) == 0


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_deadlock_is_an_error_that_says_who_waits_where(name):
    async def waiter():
        await anyio.Event().wait()

    async def main():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiter)
            await anyio.Event().wait()

    with pytest.raises((testing.Deadlock, ExceptionGroup)) as caught:
        run(name, main)
    error = caught.value
    if isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, testing.Deadlock)
    assert "main (test_virtual.py:" in str(error)
    assert "waiter (test_virtual.py:" in str(error)


def test_an_unknown_backend():
    with pytest.raises(ValueError, match="'asyncio' or 'trio', got 'curio'"):
        testing.virtual_backend("curio")
