"""What is shown of a connection, moment by moment."""

from typing import Any

import anyio
import pytest

from examples.demonstration import _tree
from examples.demonstration._subjects import Subjects
from examples.demonstration._tree import Tree
from wsnursery import Options, WebSocket, testing

Json = dict[str, Any]


class Shown:
    """The tree of the connections that a test makes."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.subjects = Subjects(Options(receive_buffer=5, send_buffer=7, hooks=[self.tree]))

    def now(self) -> list[Json]:
        return list(self.tree.snapshots(self.subjects).values())

    async def serve(self, handler: Any, server: testing.Server) -> None:
        await self.subjects.serve(handler, server.scope, server.receive, server.send)


def tasks(shown: Json) -> dict[str, str]:
    return {task["name"]: task["state"] for task in shown["tasks"]}


async def child(_: WebSocket) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1)


async def brief(_: WebSocket) -> None:
    pass


async def faulty(_: WebSocket) -> None:
    raise KeyError


async def test_an_open_connection() -> None:
    shown, server = Shown(), testing.Server(path="/test", query_string=b"name=Pip")

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        ws.start_soon(brief, ws)
        await ws.send("hello")
        await anyio.sleep(5)

    async with anyio.create_task_group() as group:
        group.start_soon(shown.serve, handler, server)
        await anyio.wait_all_tasks_blocked()
        server.peer.send_nowait("unread")
        await anyio.wait_all_tasks_blocked()
        (subject,) = shown.subjects
        assert shown.now() == [
            {
                "id": subject.id,
                "kind": "test",
                "name": "Pip",
                "state": "open",
                "code": None,
                "fault": "",
                "cancelled": "",
                "tasks": [
                    {"name": "body", "state": "running"},
                    {"name": "child", "state": "running"},
                    {"name": "brief", "state": "ended"},
                ],
                "receive": {"used": 1, "limit": 5},
                "send": {"used": 0, "limit": 7},
                "received": 1,
                "sent": 1,
            }
        ]
        subject.seam.stall()
        assert shown.now()[0]["fault"] == "stalled"
        group.cancel_scope.cancel()


async def test_a_client_that_leaves() -> None:
    shown, server = Shown(), testing.Server(path="/chat")

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        await ws.receive()

    async with anyio.create_task_group() as group:
        group.start_soon(shown.serve, handler, server)
        await anyio.wait_all_tasks_blocked()
        server.peer.close(4001)
        await anyio.wait_all_tasks_blocked()
        (ending,) = shown.now()
        assert ending["cancelled"] == "the connection ended"
        assert ending["state"] == "closed"
        assert tasks(ending) == {"body": "disconnected", "child": "stopping"}
    (ended,) = shown.now()
    assert (ended["state"], ended["code"], ended["fault"]) == ("ended", 4001, "")
    assert tasks(ended) == {"body": "disconnected", "child": "cancelled"}


async def test_a_child_that_fails_and_a_cancellation_from_outside() -> None:
    shown = Shown()

    async def failing(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(faulty, ws)
        await anyio.sleep_forever()

    async def waiting(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep_forever()

    await shown.serve(failing, testing.Server())
    async with anyio.create_task_group() as group:
        group.start_soon(shown.serve, waiting, testing.Server())
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    failed, cancelled = shown.now()
    assert failed["cancelled"] == "a task failed"
    assert tasks(failed) == {"body": "cancelled", "faulty": "failed"}
    assert failed["code"] == 1011
    assert cancelled["cancelled"] == "from outside"
    assert tasks(cancelled) == {"body": "cancelled"}


async def test_the_first_reason_stays() -> None:
    shown, server = Shown(), testing.Server()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        ws.start_soon(faulty, ws)
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(shown.serve, handler, server)
        await anyio.wait_all_tasks_blocked()
        server.peer.vanish()
    (ended,) = shown.now()
    assert ended["cancelled"] == "a task failed"


async def test_those_that_have_ended_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tree, "KEPT", 1)
    shown = Shown()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()

    for name in (b"a", b"b", b"c"):
        await shown.serve(handler, testing.Server(query_string=b"name=" + name))
    assert [each["name"] for each in shown.now()] == ["b", "c"]


async def test_while_an_origin_is_being_denied_nothing_is_shown() -> None:
    shown = Shown()
    shown.subjects.options = Options(allowed_origins=["http://localhost"], hooks=[shown.tree])
    go_on = anyio.Event()
    stall = testing.StallSend(1, until=go_on)
    server = testing.Server(headers=[(b"origin", b"http://evil.example")], faults=[stall])
    async with anyio.create_task_group() as group:
        group.start_soon(shown.serve, None, server)
        await anyio.wait_all_tasks_blocked()
        assert shown.now() == []
        go_on.set()
    assert [each["state"] for each in shown.now()] == ["ended"]
