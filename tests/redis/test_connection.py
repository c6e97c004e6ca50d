"""The connection to Redis."""

import runpy
import sys

import pytest

from wsnursery.redis import _connection


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(ImportError, match=r"pip install 'wsnursery\[redis\]'"):
        runpy.run_path(_connection.__file__)
