"""Ending all open connections: one connection must not affect the others."""

import logging

import anyio
import pytest

from tests.contract._bench import about
from wsnursery._engine.open_connections import Gone, OpenConnections


class Recorder:
    """Connections that are only names, with the calls on them and their times."""

    def __init__(self) -> None:
        self.open = OpenConnections[str](self.close, self.cancel)
        self.done: list[tuple[str, str]] = []
        self.raises: dict[str, Exception] = {}

    async def close(self, name: str, code: int, reason: str) -> None:
        self.done.append(("close", name))
        if name in self.raises:
            raise self.raises[name]

    async def cancel(self, name: str, code: int, reason: str) -> None:
        self.done.append(("cancel", name))
        if name in self.raises:
            raise self.raises[name]
        self.open.discard(name)

    async def end_all(self, timeout: float = 1, **options: float) -> int:
        limit = anyio.CancelScope(deadline=anyio.current_time() + timeout)
        late = 0
        async with anyio.create_task_group() as tasks:
            late += await self.open.end_all(tasks.start_soon, 1001, "", limit=limit, **options)
        return late


@pytest.fixture
def recorder() -> Recorder:
    recorder = Recorder()
    for name in "abc":
        recorder.open.add(name)
    return recorder


# contract: C5
@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), ExceptionGroup("two", [OSError(), OSError()])], ids=repr
)
async def test_one_that_fails_to_close_stops_no_other(
    recorder: Recorder, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.raises["a"] = error
    with caplog.at_level(logging.WARNING, "wsnursery"):
        assert await recorder.end_all() == 3
    assert sorted(recorder.done) == [(what, name) for what in ("cancel", "close") for name in "abc"]
    assert [record.getMessage() for record in caplog.records] == ["could not close 'a'"] * 2


async def test_one_that_has_ended_meanwhile_is_no_failure(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.raises["a"] = anyio.ClosedResourceError()
    await recorder.end_all()
    assert not caplog.records


async def test_those_that_end_in_time_are_not_cancelled(recorder: Recorder) -> None:
    async def ends(name: str, seconds: float) -> None:
        await anyio.sleep(seconds)
        recorder.open.discard(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ends, "a", 0.5)
        tasks.start_soon(ends, "b", 2)
        tasks.start_soon(ends, "c", 0.7)
        assert await recorder.end_all(timeout=1) == 1
        assert ("cancel", "b") in recorder.done
        tasks.cancel_scope.cancel()
    assert not len(recorder.open)


async def test_one_that_ends_while_others_are_cancelled(recorder: Recorder) -> None:
    async def cancel(name: str, code: int, reason: str) -> None:
        recorder.done.append(("cancel", name))
        for each in "abc":
            recorder.open.discard(each)

    recorder.open = OpenConnections(recorder.close, cancel)
    recorder.open.add("a")
    recorder.open.add("b")
    await recorder.end_all(timeout=0)
    assert recorder.done.count(("cancel", "a")) == 1
    assert ("cancel", "b") not in recorder.done


async def test_waiting_until_it_is_empty(recorder: Recorder) -> None:
    async def end() -> None:
        for name in recorder.open:
            await anyio.sleep(1)
            recorder.open.discard(name)

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        await recorder.open.until_empty()
    assert anyio.current_time() == about(began + 3)
    await recorder.open.until_empty()


async def test_a_transport_whose_client_has_gone() -> None:
    gone = Gone({"type": "websocket"})
    assert (await gone.receive()).code is None
    with pytest.raises(BrokenPipeError) as caught:
        await gone.send("text")
    assert gone.says_gone(caught.value)
    assert not gone.abort()
