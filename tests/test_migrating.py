"""docs/migrating.md: the handlers of both sides, run, and what differs between them.

Those of trio-websocket need sockets: tests/servers/test_migrating.py.
"""

import importlib
from types import ModuleType
from typing import Any, NamedTuple

import anyio
import pytest

from wsnursery import testing

BACKENDS = {
    "starlette": ["asyncio", "trio"],
    "falcon": ["asyncio"],
    "quart_trio": ["trio"],
}
"""Where each framework runs."""

SCOPE = {
    "headers": [(b"host", b"example.org")],
    "http_version": "1.1",
    "scheme": "ws",
    "root_path": "",
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80),
}
"""What the frameworks read."""


class Side(NamedTuple):
    """One version of the handler."""

    framework: str
    version: str
    backend: str

    def load(self) -> ModuleType:
        pytest.importorskip(
            self.framework,
            reason=f"{self.framework} is not installed: pip install -r requirements/servers.txt",
        )
        return importlib.import_module(f"examples.migrating.{self.framework}_{self.version}")


SIDES = [
    Side(framework, version, backend)
    for framework, backends in BACKENDS.items()
    for version in ("before", "after")
    for backend in backends
]


@pytest.fixture(params=SIDES, ids=" ".join)
def side(request: pytest.FixtureRequest) -> Side:
    side: Side = request.param
    return side


@pytest.fixture
def anyio_backend(side: Side) -> tuple[str, dict[str, Any]]:
    return testing.virtual_backend(side.backend)


@pytest.fixture
def module(side: Side) -> ModuleType:
    return side.load()


def facts(side: Side, **before: Any) -> Any:
    """What is expected of this side: `ours`, or what is given for its framework."""
    ours = before.pop("ours")
    return ours if side.version == "after" else before[side.framework]


def connected(module: ModuleType, personality: testing.Personality = testing.SILENT) -> Any:
    return testing.connect(module.app, path="/feed", scope=SCOPE, personality=personality)


async def raised(client: testing.Client) -> type[BaseException] | None:
    """What the application left to the server."""
    await client.until_finished()
    if client.exception is None:
        return None
    with pytest.raises(type(client.exception)):
        await client.app_finished()
    return type(client.exception)


async def test_talk(module: ModuleType) -> None:
    async with connected(module) as client:
        assert await client.receive() == "tick 1"
        await client.send("hello")
        assert await client.receive() == "you said 'hello'"
        assert await client.receive() == "tick 2"


GRACE = 5.0
ANSWER = 60.0


async def test_client_vanishes_while_the_handler_is_busy(side: Side, module: ModuleType) -> None:
    async with connected(module) as client:
        assert await client.receive() == "tick 1"
        await client.send("slow")
        await anyio.sleep(0.5)
        client.vanish()
        began = anyio.current_time()
        error = await raised(client)
        took = anyio.current_time() - began
    # The answer is in hand: a reader may finish it, for the grace period.
    expected = facts(
        side,
        starlette=(ANSWER - 0.5, None),
        falcon=(0.5, None),  # the next tick raises, in a group
        quart_trio=(0.0, None),
        ours=(GRACE, None),
    )
    assert (pytest.approx(took, abs=0.1), error) == expected


async def test_the_same_on_a_server_that_raises(side: Side, module: ModuleType) -> None:
    async with connected(module, testing.RAISES_OSERROR) as client:
        assert await client.receive() == "tick 1"
        await client.send("slow")
        await anyio.sleep(0.5)
        client.vanish()
        error = await raised(client)
    expected = facts(side, starlette=ExceptionGroup, falcon=None, quart_trio=None, ours=None)
    assert error is expected


async def test_handler_fails(side: Side, module: ModuleType) -> None:
    async with connected(module) as client:
        assert await client.receive() == "tick 1"
        await client.send("fail")
        with pytest.raises(testing.ConnectionEnded) as ended:
            await client.receive()
        error = await raised(client)
        lines = client.transcript.lines
    expected = facts(
        side,
        starlette=("server close 1011", ExceptionGroup),
        falcon=("app close 1011 Internal Server Error", None),
        quart_trio=("app close 1000", None),  # and an error in the log
        ours=("app close 1011", LookupError),
    )
    closed = [line for line in lines if "close" in line]
    assert (closed, error) == ([expected[0]], expected[1])
    assert str(ended.value.code) in expected[0]


async def test_binary_message(side: Side, module: ModuleType) -> None:
    async with connected(module) as client:
        assert await client.receive() == "tick 1"
        await client.send(b"hello")
        try:
            answer: object = await client.receive()
        except testing.ConnectionEnded as ended:
            answer = ended.code
        await raised(client) if answer == 1011 else client.close()
    answered = "you said b'hello'"
    assert answer == facts(side, starlette=1011, falcon=1011, quart_trio=answered, ours=answered)


async def test_server_stops(side: Side, module: ModuleType) -> None:
    async with connected(module) as client:
        assert await client.receive() == "tick 1"
        client.cancel_app()
        await client.until_finished()
        closed = [line for line in client.transcript.lines if "close" in line]
    ours, servers = ["app close 1001"], ["server close 1011"]
    assert closed == facts(side, starlette=servers, falcon=servers, quart_trio=servers, ours=ours)
