"""The application that the examined server serves."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.doctor._director import Director
from wsnursery._doctor import application
from wsnursery.testing import SILENT


async def test_lifespan() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {}

    async def send(event: Any) -> None:
        sent.append(event["type"])

    await application.app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_stats_over_http() -> None:
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    await application.app({"type": "http"}, None, send)  # type: ignore[arg-type]
    start, body = sent
    assert start["status"] == 200
    assert (b"content-length", str(len(body["body"])).encode()) in start["headers"]
    stats = json.loads(body["body"])
    assert stats["tasks"] >= 1
    assert stats["descriptors"] >= 3


async def test_stats_without_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert set(application.stats()) == {"pid", "tasks"}


async def test_tasks_are_counted() -> None:
    before = application.stats()["tasks"]
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        assert application.stats()["tasks"] == before + 3
        group.cancel_scope.cancel()


async def test_the_path_names_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    director = Director(SILENT)
    opened: list[str] = []

    class ControlChannel:
        note, order, ask = director.note, director.order, director.ask

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc_info: object) -> None:
            opened.append("closed")

        @classmethod
        def open(cls, connection: str) -> Any:
            opened.append(connection)
            return cls()

    monkeypatch.setattr(application, "ControlChannel", ControlChannel)
    scope = {**director.server.scope, "path": "/raw/leave/reset", "query_string": b"c7"}
    await director.run(lambda b: application.app(scope, b.receive, b.send))
    assert opened == ["c7", "closed"]
    assert director.orders == ["reset"]
    assert director.facts["code"] == 1006
