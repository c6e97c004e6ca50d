"""Raw calls on trio that are stepped by hand: without their checkpoints, up to where they wait."""

from collections.abc import Awaitable, Callable, Generator, Iterator
from types import coroutine
from typing import Any

import pytest
import trio

from wsnursery._backend import steps
from wsnursery._backend.steps import MOST_CHECKPOINTS, past_checkpoints

trio_only = pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
pytestmark = trio_only


@pytest.fixture(autouse=True)
def probe_anew() -> Iterator[None]:
    steps.checkpoint_marker.cache_clear()
    yield
    steps.checkpoint_marker.cache_clear()


class Other:
    """Another task, which has had a turn once it has run."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.had_turn = False
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        self.had_turn = True


async def test_the_checkpoints_of_a_call_that_need_not_wait_are_skipped() -> None:
    lock = trio.Lock()

    async def call() -> None:
        async with lock:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        other = Other(nursery)
        await past_checkpoints(call())
        assert not other.had_turn
        assert not lock.locked()


async def test_a_call_that_fails() -> None:
    async def call() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("k")

    with pytest.raises(KeyError):
        await past_checkpoints(call())


async def test_a_call_that_waits_goes_on_in_the_task_that_has_begun_it() -> None:
    waits, come = trio.Event(), list[str]()

    async def call() -> None:
        await trio.lowlevel.checkpoint()
        await waits.wait()
        come.append("woken")
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_later, waits.set)
        await past_checkpoints(call())
    assert come == ["woken"]


async def test_a_call_that_waits_can_be_cancelled() -> None:
    async def call() -> None:
        await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        await past_checkpoints(call())
    assert scope.cancelled_caught


async def test_a_call_that_looks_again_and_again_lets_others_run() -> None:
    async with trio.open_nursery() as nursery:
        other = Other(nursery)

        async def call() -> None:
            while not other.had_turn:
                await trio.lowlevel.checkpoint()

        await past_checkpoints(call())
        assert other.had_turn


def _asks_for(request: object) -> Callable[[], Awaitable[Any]]:
    @coroutine
    def checkpoint() -> Generator[object, Any, None]:
        answer = yield request
        answer.unwrap()

    async def call() -> None:
        await checkpoint()

    return call


async def test_the_marker_of_another_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    marker = object()
    monkeypatch.setattr(trio.lowlevel, "cancel_shielded_checkpoint", _asks_for(marker))
    assert steps.checkpoint_marker() is marker


@pytest.mark.parametrize("failure", ["raises", "goes on"])
async def test_a_trio_that_is_not_understood(failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @coroutine
    def wants_more() -> Generator[object]:
        answer = yield "a turn"
        if failure == "raises":
            answer.value_of_another_release()  # type: ignore[attr-defined]
        yield "another turn"

    async def checkpoint() -> None:
        await wants_more()

    monkeypatch.setattr(trio.lowlevel, "cancel_shielded_checkpoint", checkpoint)
    real = trio.lowlevel.checkpoint
    assert steps.checkpoint_marker() not in ("a turn", "another turn")

    looks = list[int]()

    async def call() -> None:
        for look in range(MOST_CHECKPOINTS):
            await real()
            looks.append(look)

    await past_checkpoints(call())
    assert len(looks) == MOST_CHECKPOINTS


async def _later(call: Callable[[], None]) -> None:
    await trio.sleep(1)
    call()
