"""Single runs on both backends, step by step."""

import anyio
import pytest

from wsnursery.testing import Livelock
from wsnursery.testing._harness import run_once


class Control:
    def __init__(self, choices=(), limit=1000):
        self.steps = 0
        self.limit = limit
        self.choices = list(choices)
        self.asked = []

    def on_step(self, coroutine, name):
        self.steps += 1

    def first(self, runnable):
        self.asked.append(runnable)
        return self.choices.pop(0) if self.choices else 0

    def check(self):
        if self.steps > self.limit:
            self.limit = 10**9
            raise Livelock("too long")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_steps_are_counted(backend):
    async def main():
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(3600)

    control = Control()
    run_once(backend, main, control)
    assert 10 < control.steps < 40


@pytest.mark.parametrize("choice", [0, 1, 2])
def test_trio_runs_the_chosen_task_first(choice):
    order = []

    async def child(name):
        order.append(name)

    async def main():
        async with anyio.create_task_group() as tasks:
            for name in range(3):
                tasks.start_soon(child, name)

    class Choosing(Control):
        def first(self, runnable):
            return choice if runnable == 3 else 0

    run_once("trio", main, Choosing())
    assert order[0] == choice
    assert sorted(order) == [0, 1, 2]


def test_stopped_by_force_on_asyncio():
    async def main():
        while True:
            await anyio.lowlevel.checkpoint()

    with pytest.raises(Livelock):
        run_once("asyncio", main, Control(limit=100))


def test_an_unknown_backend():
    async def main():
        pass

    with pytest.raises(ValueError, match="'asyncio' or 'trio', got 'curio'"):
        run_once("curio", main, Control())
