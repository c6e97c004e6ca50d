"""A task that is always runnable ends the test instead of hanging it."""

from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from wsnursery import WebSocket, testing, websocket_app
from wsnursery.testing._transcript import attached

ADVICE = "must not continue after WebSocketDisconnected"


def run(backend, main, max_turns=200):
    name, options = testing.virtual_backend(backend, max_turns=max_turns)
    anyio.run(main, backend=name, backend_options=options)


async def circle():
    while True:
        await anyio.lowlevel.checkpoint()


@websocket_app
async def retries(ws: WebSocket) -> None:
    """The commonest bug of all."""
    await ws.accept()
    while True:
        try:
            await ws.receive()
        except Exception:  # noqa: BLE001 - this is what the bug looks like
            continue


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_handler_that_goes_on_after_the_end_is_stuck(backend):
    async def main():
        async with testing.connect(retries) as client:
            await anyio.sleep(1)  # until it reads: one that does not is cancelled at once
            client.close()
            await anyio.sleep(1)

    with pytest.raises(testing.ApplicationStuck) as caught:
        run(backend, main)
    assert "in retries (test_livelock.py:" in str(caught.value)
    assert ADVICE in str(caught.value)
    assert "peer close 1000" in "".join(attached(caught.value))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_default_bound_takes_seconds(backend):
    async def main():
        async with testing.connect(retries):
            # Wait until it reads, because a handler that does not is cancelled at once.
            await anyio.sleep(1)

    name, options = testing.virtual_backend(backend)
    with pytest.raises(testing.ApplicationStuck, match=r"for 100000 turns .* in retries \("):
        anyio.run(main, backend=name, backend_options=options)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_its_own_exception_is_the_context(backend):
    async def app(scope, receive, send):
        try:
            await circle()
        finally:
            raise KeyError("its own")

    async def main():
        async with testing.connect(app):
            pass

    with pytest.raises(testing.ApplicationStuck) as caught:
        run(backend, main)
    assert isinstance(caught.value.__context__, KeyError)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_handler_that_cannot_be_stopped(backend):
    async def app(scope, receive, send):
        with anyio.CancelScope(shield=True):
            await circle()

    async def main():
        async with testing.connect(app):
            pass

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - on trio it comes in groups
        run(backend, main)
    (livelock,) = leaves(caught.value)
    assert type(livelock) is testing.Livelock
    assert "in circle (test_livelock.py:" in str(livelock)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_without_a_client(backend):
    with pytest.raises(testing.Livelock, match=r"in circle \(test_livelock.py:"):
        run(backend, circle)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_callbacks_alone(backend):
    """No task runs: there is no line to name."""

    async def main():
        if backend == "asyncio":
            import asyncio

            loop = asyncio.get_running_loop()

            def again():
                loop.call_soon(again)

            again()
        else:
            import trio

            token = trio.lowlevel.current_trio_token()

            def again():
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(again)

            again()
        await anyio.sleep_forever()

    with pytest.raises(testing.Livelock, match="because a task was always runnable"):
        run(backend, main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_pause_begins_a_new_count(backend):
    async def main():
        for _ in range(5):
            for _ in range(150):
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(1)

    run(backend, main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_circle_that_ends_in_time_is_forgotten(backend):
    async def main():
        for _ in range(2):
            for _ in range(250):
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(1)

    run(backend, main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_explore_names_the_line(backend):
    async def scenario(run):
        await circle()

    with pytest.raises(testing.ExplorationFailed) as caught:
        testing.explore(scenario, backends=[backend])
    assert "within 20000 steps; the task" in str(caught.value)
    assert "in circle (test_livelock.py:" in str(caught.value)
