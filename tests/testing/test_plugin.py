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


FAILING = """
import anyio
import pytest
from wsnursery import Options, testing, websocket_app

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return testing.virtual_backend("asyncio")

async def test_that_fails(ws_recorder):
    @websocket_app(options=Options(hooks=[ws_recorder]))
    async def app(ws):
        await ws.accept()
        await ws.send("hello")

    async with testing.connect(app, path="/chat") as client:
        assert await client.receive() == "good bye"

async def test_without_a_recorder():
    raise ValueError("no")

async def test_that_passes(ws_recorder):
    pass

@pytest.fixture
def broken(ws_recorder):
    raise ValueError("no")

def test_whose_fixture_fails(broken):
    pass
"""

HEADINGS = ["*what crossed the wire*", "*app send 'hello'*", "*wsnursery: timeline*"]


def test_a_failed_test_shows_its_timeline(pytester: pytest.Pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_inprocess("-p", "no:wsnursery")
    result.assert_outcomes(failed=2, passed=1, errors=1)
    result.stdout.fnmatch_lines([*HEADINGS, "WebSocket /chat (*", "*0.000  opened /chat"])
    assert result.stdout.str().count("wsnursery: ") == 2
    assert not list(pytester.path.rglob("*.svg"))


def test_a_failed_test_is_drawn_where_the_option_says(pytester: pytest.Pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_inprocess("-p", "no:wsnursery", "--wsnursery-timelines=pictures")
    result.stdout.fnmatch_lines([*HEADINGS, "*wsnursery: picture*", "pictures?*fails.svg"])
    (picture,) = pytester.path.joinpath("pictures").iterdir()
    assert "closed" in picture.read_text(encoding="utf-8")


def test_loading_imports_nothing_but_pytest_beside_its_packages():
    code = (
        "import sys, pytest, wsnursery.testing; before = set(sys.modules);"
        "import wsnursery.testing._plugin; print(set(sys.modules) - before)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert output.decode().strip() == "{'wsnursery.testing._plugin'}"
