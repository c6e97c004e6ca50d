"""The pytest plugin: fixtures for virtual time, personalities, the client and a recorder.

It imports only pytest. The kit is imported when a fixture is used, or when a test has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wsnursery.timeline import Recorder

    from ._client import Client
    from ._personalities import Personality

BACKENDS = ["asyncio", "trio"] if find_spec("trio") else ["asyncio"]
BASIC_NAMES = ["silent", "raises-oserror", "raises-runtimeerror", "foreign-exception"]


@pytest.fixture(params=BACKENDS)
def ws_virtual_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """A backend on virtual time, with its own clock for every test.

    In ``conftest.py``::

        @pytest.fixture
        def anyio_backend(ws_virtual_backend):
            return ws_virtual_backend
    """
    from ._virtual import virtual_backend

    return virtual_backend(request.param)


@pytest.fixture(params=BASIC_NAMES)
def ws_personality(request: pytest.FixtureRequest) -> Personality:
    """The four basic ways in which servers treat a send to a peer that is gone.

    For other personalities: ``@pytest.mark.parametrize("ws_personality", testing.SERVERS)``.
    """
    from ._personalities import BASIC

    return next(rules for rules in BASIC if rules.name == request.param)


@pytest.fixture
def ws_connect(
    ws_personality: Personality,
) -> Callable[..., AbstractAsyncContextManager[Client]]:
    """:func:`wsnursery.testing.connect` on a server with the test's ``ws_personality``."""
    from ._client import connect

    return partial(connect, personality=ws_personality)


_RECORDER = pytest.StashKey["Recorder"]()


@pytest.fixture
def ws_recorder(request: pytest.FixtureRequest) -> Recorder:
    """A `wsnursery.timeline.Recorder`. If the test fails, its timelines are shown.

    Pass it to the application: ``Options(hooks=[ws_recorder])``. With
    ``--wsnursery-timelines=DIRECTORY`` a picture is drawn as well.
    """
    from wsnursery.timeline import Recorder

    recorder = request.node.stash[_RECORDER] = Recorder()
    return recorder


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the directory of pictures."""
    parser.getgroup("wsnursery").addoption(
        "--wsnursery-timelines",
        metavar="DIRECTORY",
        type=Path,
        help="draw what happened in failed tests with ws_recorder, and in failed explorations",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report what happened to the connections of a failed test."""
    report = yield
    if report.failed and call.excinfo is not None:
        from ._evidence import sections

        directory = item.config.getoption("--wsnursery-timelines")
        recorder = item.stash.get(_RECORDER, None)
        report.sections += sections(call.excinfo.value, recorder, item.nodeid, directory)
    return report
