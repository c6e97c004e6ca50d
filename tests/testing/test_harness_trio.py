"""Control over trio's scheduling."""

import random

import pytest
import trio
from trio._core import _run

from tests.testing.test_harness import Control
from wsnursery.testing import Livelock
from wsnursery.testing._harness_trio import controlled


def test_trio_is_left_as_it_was():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)
            nursery.start_soon(trio.sleep, 1)

    control = Control()
    # Not always False: hypothesis sets it too.
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING
    with controlled(control) as options:
        trio.run(main, **options)
        assert _run._r.random() == 0.0
    assert isinstance(_run._r, random.Random)
    assert before == _run._ALLOW_DETERMINISTIC_SCHEDULING
    assert 2 in control.asked
    assert control.steps > 3


def test_stopped_by_force():
    async def circle():
        with trio.CancelScope(shield=True):
            while True:
                await trio.lowlevel.checkpoint()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(circle)
            while control.steps < 100:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(circle)  # one that has not begun when the end comes
            await circle()

    class Strict(Control):
        def check(self):
            if self.steps > 100:
                raise Livelock

    control = Strict()
    with pytest.raises(BaseExceptionGroup) as caught, controlled(control) as options:
        trio.run(main, **options)
    assert caught.value.split(Livelock)[1] is None
