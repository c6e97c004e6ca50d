"""The pytest plugin: fixtures for virtual time, personalities and the client.

It imports pytest alone; the kit is imported when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ._client import Client
    from ._personalities import Personality

BACKENDS = ["asyncio", "trio"] if find_spec("trio") else ["asyncio"]
BASIC = ["silent", "raises-oserror", "raises-runtimeerror", "foreign-exception"]


@pytest.fixture(params=BACKENDS)
def ws_virtual_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """A backend on virtual time, with a clock of its own for every test.

    In ``conftest.py``::

        @pytest.fixture
        def anyio_backend(ws_virtual_backend):
            return ws_virtual_backend
    """
    from ._virtual import virtual_backend

    return virtual_backend(request.param)


@pytest.fixture(params=BASIC)
def ws_personality(request: pytest.FixtureRequest) -> Personality:
    """The four basic ways of a server to treat a send to a peer that is gone.

    For others: ``@pytest.mark.parametrize("ws_personality", testing.SERVERS)``.
    """
    from ._personalities import BASIC as PERSONALITIES

    return next(rules for rules in PERSONALITIES if rules.name == request.param)


@pytest.fixture
def ws_connect(
    ws_personality: Personality,
) -> Callable[..., AbstractAsyncContextManager[Client]]:
    """:func:`wsnursery.testing.connect` on a server with the test's ``ws_personality``."""
    from ._client import connect

    return partial(connect, personality=ws_personality)
