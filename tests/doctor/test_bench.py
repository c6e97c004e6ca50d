"""The application's side of a probe."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from wsnursery._doctor._bench import ENVIRONMENT_VARIABLE, Bench, ControlChannel, attempt, described
from wsnursery.testing import RAISES_OSERROR, Server


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def said(theirs: socket.socket) -> list[Any]:
    return [json.loads(text) for text in theirs.recv(65536).splitlines()]


async def test_notes_and_orders(line: tuple[socket.socket, socket.socket]) -> None:
    with ControlChannel(line[0], "c1") as channel:
        channel.note(code=1006, reason=None)
        channel.order("reset")
        channel.order("send", count=3)
    assert said(line[1]) == [
        {"connection": "c1"},
        {"facts": {"code": 1006, "reason": None}},
        {"order": "reset", "arguments": {}},
        {"order": "send", "arguments": {"count": 3}},
    ]


async def test_ask_waits_for_the_result(line: tuple[socket.socket, socket.socket]) -> None:
    with ControlChannel(line[0], "c1") as channel:
        line[1].sendall(b'{"result": 7}\n{"result"')
        assert await channel.ask("flood", limit=9) == 7
        line[1].sendall(b": [1]}\n")
        assert await channel.ask("read") == [1]
    assert said(line[1])[1] == {"order": "flood", "arguments": {"limit": 9}, "answer": True}


async def test_an_unread_answer_does_not_take_the_notes_back() -> None:
    """A socket that is closed with something unread in it resets the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        with theirs:
            with ControlChannel(ours, "c1") as channel:
                theirs.sendall(b'{"result": null}\n')
                channel.note(last=True)
            assert theirs.makefile().read().endswith('{"facts": {"last": true}}\n')


async def test_channel_when_the_other_end_is_gone(
    line: tuple[socket.socket, socket.socket],
) -> None:
    with ControlChannel(line[0], "c1"):
        line[1].close()


async def test_open_finds_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(listener.getsockname()[1]))
        with ControlChannel.open("c5"):
            theirs, _ = listener.accept()
            with theirs:
                assert said(theirs) == [{"connection": "c5"}]


@pytest.fixture
def server() -> Server:
    return Server(personality=RAISES_OSERROR)


@pytest.fixture
def bench(server: Server, line: tuple[socket.socket, socket.socket]) -> Bench:
    channel = ControlChannel(line[0], "c1")
    return Bench(server.scope, server.receive, server.send, channel, "variant")


async def test_end_of_input(server: Server, bench: Bench) -> None:
    await bench.accept()
    await bench.send_raw("text")
    await bench.send_raw(b"bytes")
    assert [await server.peer.receive(), await server.peer.receive()] == ["text", b"bytes"]
    server.peer.send_nowait("one")
    server.peer.close(4001, "bye")
    facts = await bench.end_of_input(1)
    assert (facts["outcome"], facts["code"], facts["reason"]) == ("returned", 4001, "bye")
    assert facts["messages"] == 1


async def test_end_of_input_that_does_not_come(server: Server, bench: Bench) -> None:
    await bench.accept()
    server.peer.send_nowait("one")
    facts = await bench.end_of_input(1)
    assert (facts["outcome"], facts["messages"]) == ("hangs", 1)


async def test_attempt() -> None:
    async def fail() -> None:
        raise BrokenPipeError("x" * 300)

    assert (await attempt(anyio.lowlevel.checkpoint, 1))["outcome"] == "returned"
    assert (await attempt(anyio.sleep_forever, 1))["outcome"] == "hangs"
    facts = await attempt(fail, 1)
    assert (facts["outcome"], facts["error"]) == ("raised", "BrokenPipeError")
    assert facts["is_os_error"]
    assert facts["text"] == "x" * 200


def test_described() -> None:
    assert described(TimeoutError("late")) == {
        "error": "TimeoutError",
        "text": "late",
        "is_os_error": True,
    }
    assert described(anyio.WouldBlock())["error"] == "anyio.WouldBlock"
