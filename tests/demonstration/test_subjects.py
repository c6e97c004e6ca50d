"""The connections that can be broken: one at a time, and no error leaves them."""

import anyio
import pytest

from examples.demonstration._subjects import Handler, Subject, Subjects
from wsnursery import Options, WebSocket, testing


async def serve(subjects: Subjects, handler: Handler, server: testing.Server) -> None:
    await subjects.serve(handler, server.scope, server.receive, server.send)


async def test_it_is_known_while_it_is_open() -> None:
    subjects = Subjects(Options())
    found: list[Subject] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        found.extend(subjects)
        (subject,) = found
        assert subject.ws is ws
        assert subject.id == str(ws.id)
        assert subjects.get(subject.id) is subject
        await ws.receive()

    server = testing.Server()
    server.peer.send_nowait("hello")
    await serve(subjects, handler, server)
    assert list(subjects) == []
    assert subjects.get(found[0].id) is None


@pytest.mark.parametrize("error", [ValueError(), ExceptionGroup("several", [KeyError()])])
async def test_what_a_handler_raises_goes_no_further(error: Exception) -> None:
    subjects = Subjects(Options())
    server = testing.Server()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        raise error

    await serve(subjects, handler, server)
    with pytest.raises(testing.ConnectionEnded) as ended:
        await server.peer.receive()
    assert ended.value.code == 1011
    assert list(subjects) == []


async def test_what_is_around_it_can_be_cancelled() -> None:
    subjects = Subjects(Options())
    server = testing.Server()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(serve, subjects, handler, server)
        await anyio.wait_all_tasks_blocked()
        for subject in subjects:
            subject.outside.cancel()
    with pytest.raises(testing.ConnectionEnded) as ended:
        await server.peer.receive()
    assert ended.value.code == 1001


async def test_a_denied_origin_never_comes_in() -> None:
    subjects = Subjects(Options(allowed_origins=["http://localhost"]))
    server = testing.Server(headers=[(b"origin", b"http://evil.example")])

    async def handler(_: WebSocket) -> None:
        raise AssertionError("not called")

    await serve(subjects, handler, server)
    assert not server.peer.accepted
    assert list(subjects) == []
