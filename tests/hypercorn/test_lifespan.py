"""The lifespan: the errors of an application that fails, and an early shutdown."""

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from tests.contract._bench import about
from wsnursery.hypercorn import DeploymentError
from wsnursery.hypercorn._backends import wrong_backend
from wsnursery.hypercorn._lifespan import GuardedLifespan


class Wire:
    """The server's side of a lifespan."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self._started = False

    async def receive(self) -> Any:
        if self._started:
            await anyio.sleep_forever()
        self._started = True
        return {"type": "lifespan.startup"}

    async def send(self, event: Any) -> None:
        self.sent.append(event["type"])


async def test_what_it_raises_in_its_startup_stops_the_server() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise LookupError("no database")

    lifespan, wire = GuardedLifespan(app), Wire()
    await lifespan({"type": "lifespan"}, wire.receive, wire.send)
    assert wire.sent == ["lifespan.startup.failed"]
    assert lifespan.has_failed
    assert str(lifespan.failure) == "no database"


async def test_one_that_raises_before_does_not_support_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError(scope["type"])

    lifespan, wire = GuardedLifespan(app), Wire()
    with pytest.raises(NotImplementedError):
        await lifespan({"type": "lifespan"}, wire.receive, wire.send)
    assert wire.sent == []
    assert lifespan.failure is None


async def test_what_it_raises_later_is_the_servers_business() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise LookupError

    lifespan, wire = GuardedLifespan(app), Wire()
    with pytest.raises(LookupError):
        await lifespan({"type": "lifespan"}, wire.receive, wire.send)
    assert lifespan.failure is None


def other_error(backend: str) -> Exception:
    """The errors of the other backend in this one."""
    if backend == "trio":
        return RuntimeError("no running event loop")
    return RuntimeError("must be called from async context")


async def test_the_other_backend_in_the_lifespan_is_a_sentence(anyio_backend_name: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise other_error(anyio_backend_name)

    lifespan, wire = GuardedLifespan(app), Wire()
    await lifespan({"type": "lifespan"}, wire.receive, wire.send)
    assert isinstance(lifespan.failure, DeploymentError)
    assert "start it with `-k " in str(lifespan.failure)


async def test_the_other_backend_in_a_handler_is_said_once(
    anyio_backend_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise other_error(anyio_backend_name)

    lifespan, wire = GuardedLifespan(app), Wire()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await lifespan({"type": "http"}, wire.receive, wire.send)
    assert caplog.text.count("the application uses") == 1


@pytest.mark.parametrize("seconds", [0, 5])
async def test_it_is_shut_down_though_the_server_waits(seconds: float) -> None:
    got: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            got.append((await receive())["type"])
            await send({"type": f"{got[-1]}.complete"})
        await anyio.sleep(seconds)

    lifespan, wire = GuardedLifespan(app), Wire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lifespan, {"type": "lifespan"}, wire.receive, wire.send)
        await anyio.sleep(1)
        assert got == ["lifespan.startup"]
        began = anyio.current_time()
        await lifespan.shut_down(3)
        assert anyio.current_time() == about(began + min(seconds, 3))
        assert wire.sent[-1] == "lifespan.shutdown.complete"


async def test_where_there_is_none_nothing_is_waited_for() -> None:
    began = anyio.current_time()
    await GuardedLifespan(anyio.lowlevel.checkpoint).shut_down(3)  # type: ignore[arg-type]
    assert anyio.current_time() == about(began)


async def of_asyncio() -> None:
    await asyncio.sleep(0.1)


class Future:
    """An object that yields as asyncio's futures do, without a loop that must be closed."""

    def __await__(self) -> Any:
        yield object()


async def of_trio() -> None:
    await trio.sleep(1)


async def of_trio_task() -> None:
    trio.lowlevel.current_task()


async def test_the_other_backend_is_known_by_what_it_says(anyio_backend_name: str) -> None:
    on_trio = anyio_backend_name == "trio"
    for use in (of_asyncio, Future) if on_trio else (of_trio, of_trio_task):
        with pytest.raises((RuntimeError, TypeError)) as caught:
            await use()
        uses = "asyncio" if on_trio else "trio"
        sentence = str(wrong_backend(ExceptionGroup("", [caught.value])))
        assert f"uses {uses}, but this worker runs {anyio_backend_name}" in sentence


async def test_other_errors_are_something_else() -> None:
    for error in (RuntimeError("no"), TypeError("no"), LookupError()):
        assert wrong_backend(error) is None
