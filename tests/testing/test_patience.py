"""When an idle event loop counts as a deadlock."""

import threading
import time

from wsnursery.testing import _patience
from wsnursery.testing._patience import Patience


def test_alone_at_once(monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert Patience().exhausted()


def test_with_other_threads_after_a_while(monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    now = 0.0

    def sleep(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    patience = Patience()
    assert not patience.exhausted()
    patience.reset()
    while not patience.exhausted():
        pass
    assert now > _patience.IDLE_SECONDS
