"""The in-memory server: its scope, its faults, its end."""

import pytest

from tests.testing.test_asgi import HELLO, accepted
from wsnursery import testing
from wsnursery.testing import Server


def test_the_scope():
    server = Server(
        path="/a b",
        query_string=b"x=1",
        headers=[(b"host", b"example.org"), (b"x-a", b"b")],
        subprotocols=["one", "two"],
        scope={"path_params": {}},
    )
    assert server.scope["type"] == "websocket"
    assert server.scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert server.scope["path"] == "/a b"
    assert server.scope["query_string"] == b"x=1"
    assert server.scope["subprotocols"] == ["one", "two"]
    assert server.scope["path_params"] == {}
    headers = server.scope["headers"]
    assert (b"sec-websocket-protocol", b"one, two") in headers
    assert [value for name, value in headers if name == b"host"] == [b"example.org"]


def test_the_scope_of_a_server_that_says_little():
    scope = Server(personality=testing.DAPHNE).scope
    assert scope["asgi"] == {"version": "3.0"}
    assert "extensions" not in scope


def test_queues_of_its_own():
    server = Server(personality=testing.UVICORN, receive_queue=1, send_queue=2)
    assert (server.personality.receive_queue, server.personality.send_queue) == (1, 2)


async def test_injected_faults_count_from_there_on():
    server = await accepted()
    await server.send(HELLO)
    with server.inject(testing.FailSend(2, OSError)):
        await server.send(HELLO)
        with pytest.raises(OSError):  # noqa: PT011 - it has no text
            await server.send(HELLO)
    await server.send(HELLO)
    assert len(server.transcript.from_app) == 3


async def test_shutting_down():
    server = await accepted()
    server.shut_down()
    await server.peer.wait_gone()
    assert await server.receive() == {"type": "websocket.disconnect", "code": 1012}
    with pytest.raises(testing.ConnectionEnded, match="1012"):
        await server.peer.receive()


@pytest.mark.parametrize(("rules", "code"), [(testing.SILENT, 1011), (testing.UVICORN, 1006)])
async def test_an_application_that_ends_without_closing(rules, code):
    server = await accepted(rules)
    server.app_ended()
    with pytest.raises(testing.ConnectionEnded) as caught:
        await server.peer.receive()
    assert caught.value.code == code


async def test_an_application_that_ends_after_closing():
    server = await accepted()
    await server.send({"type": "websocket.close"})
    server.app_ended()
    assert server.transcript.lines[-1] == "app end"


@pytest.mark.parametrize("denied", [True, False])
async def test_an_application_that_ends_before_accepting(denied):
    server = Server(personality=testing.GRANIAN)
    if denied:
        await server.send({"type": "websocket.close"})
    server.app_ended(ValueError("oops"))
    assert server.transcript.lines[-1] == "app end ValueError('oops')"
