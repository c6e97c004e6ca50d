"""A service task: it runs to its end, and never raises."""

import anyio
import pytest

from wsnursery._backend.backend import current_backend
from wsnursery._engine.service import ServiceTask


# contract: L7
async def test_it_runs_until_it_is_cancelled() -> None:
    ended: list[BaseException | None] = []
    task = ServiceTask(current_backend(), "worker", anyio.sleep_forever, ended.append)
    await anyio.sleep(1)
    assert ended == []
    task.cancel()
    await anyio.wait_all_tasks_blocked()
    assert ended == [None]
    task.cancel()


# contract: L7
async def test_it_runs_to_its_end_whatever_is_cancelled_around_it() -> None:
    ended: list[float] = []
    with anyio.CancelScope() as scope:
        ServiceTask(
            current_backend(),
            "worker",
            lambda: anyio.sleep(2),
            lambda _: ended.append(anyio.current_time()),
        )
        scope.cancel()
        await anyio.sleep(1)
    await anyio.sleep(3)
    assert ended == [2]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
async def test_its_exception_is_reported(kind: type[BaseException]) -> None:
    error, ended = kind(), list[BaseException | None]()

    async def fail() -> None:
        raise error

    ServiceTask(current_backend(), "worker", fail, ended.append)
    await anyio.wait_all_tasks_blocked()
    assert ended == [error]
