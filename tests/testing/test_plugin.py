"""The pytest plugin, in a pytest run of its own."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
import pytest
pytest_plugins = ["wsnursery.testing._plugin"]

@pytest.fixture
def anyio_backend(ws_virtual_backend):
    return ws_virtual_backend
"""

TESTS = """
import anyio
import pytest
from wsnursery import testing

pytestmark = pytest.mark.anyio

async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await anyio.sleep(3600)
    await send({"type": "websocket.close"})

async def test_basic(ws_connect, ws_personality):
    async with ws_connect(app, timeout=7200) as client:
        assert client.server.personality is ws_personality
        with pytest.raises(testing.ConnectionEnded):
            await client.receive()

@pytest.mark.parametrize("ws_personality", testing.SERVERS)
async def test_servers(ws_connect, ws_personality):
    async with ws_connect(app, timeout=7200) as client:
        assert client.server.personality is ws_personality
        with pytest.raises(testing.ConnectionEnded):
            await client.receive()
"""


def test_the_fixtures(pytester: pytest.Pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-p", "no:wsnursery")
    result.assert_outcomes(passed=2 * (4 + 8))


def test_loading_imports_nothing_but_pytest_beside_its_packages():
    code = (
        "import sys, pytest, wsnursery.testing; before = set(sys.modules);"
        "import wsnursery.testing._plugin; print(set(sys.modules) - before)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert output.decode().strip() == "{'wsnursery.testing._plugin'}"
