"""The probes: liveness while the process answers, readiness while it should get connections."""

from typing import Any

import anyio
import pytest

from tests.hypercorn.test_drain import drain_of
from wsnursery.hypercorn import Health


async def inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "the application", "path": scope.get("path")})


async def ask(app: Any, path: str, kind: str = "http") -> tuple[Any, str]:
    """Status and body, or the answer of the application."""
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    await app({"type": kind, "path": path}, None, send)
    if len(sent) == 1:
        return sent[0]["type"], sent[0]["path"]
    return sent[0]["status"], sent[1]["body"].decode()


async def test_it_is_alive_and_ready() -> None:
    app = Health(inner)
    assert await ask(app, "/healthz") == (200, "ok\n")
    assert await ask(app, "/readyz") == (200, "ok\n")


async def test_everything_else_is_the_applications() -> None:
    app = Health(inner, live="/a", readiness="/b")
    assert await ask(app, "/healthz") == ("the application", "/healthz")
    assert await ask(app, "/a", kind="websocket") == ("the application", "/a")
    assert (await ask(app, "/a"))[0] == 200
    assert (await ask(app, "/b"))[0] == 200


async def test_it_can_be_switched_off() -> None:
    app = Health(inner)
    app.ready = False
    assert await ask(app, "/readyz") == (503, "this process is switched off\n")
    assert (await ask(app, "/healthz"))[0] == 200


async def test_what_it_needs_is_away(caplog: pytest.LogCaptureFixture) -> None:
    there = {"database": True, "engine": True}
    app = Health(inner, checks=[lambda: there["database"], lambda: there["engine"]])
    assert (await ask(app, "/readyz"))[0] == 200
    there["engine"] = False
    assert await ask(app, "/readyz") == (503, "this process lacks something that it needs\n")
    del there["database"]
    assert (await ask(app, "/readyz"))[0] == 503
    assert "a readiness check failed" in caplog.text


async def test_it_is_not_ready_while_the_server_drains() -> None:
    drain = drain_of(Health(inner))
    assert (await ask(drain, "/readyz"))[0] == 200
    async with anyio.create_task_group() as tasks:
        await drain.run(tasks)
    assert await ask(drain, "/readyz") == (503, "this process is being stopped\n")
    assert (await ask(drain, "/healthz"))[0] == 200
