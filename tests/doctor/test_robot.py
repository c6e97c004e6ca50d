"""The doctor's side of a probe: a script's orders reach the client."""

import json
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from wsnursery._doctor._robot import Robot, lines


class FakeClient:
    """Writes down what it shall do."""

    def __init__(self) -> None:
        self.did: list[Any] = []

    def close_frame(self) -> None:
        self.did.append("close_frame")

    def reset(self) -> None:
        self.did.append("reset")
        raise ConnectionResetError

    fin = half_close = answer = reset

    def send(self, count: int) -> None:
        self.did.append(count)

    def flood(self, limit: int) -> int:
        return limit

    read = send

    def outlook(self, seconds: float) -> dict[str, Any]:
        return {"end": "left"}


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def send_lines(theirs: socket.socket, *messages: Any) -> None:
    theirs.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in messages))


def obey(client: FakeClient, line: socket.socket, seconds: float = 5) -> dict[str, Any]:
    def terminate() -> None:
        client.did.append("terminate")

    return Robot(line, client, terminate).obey(seconds)  # type: ignore[arg-type]


def test_orders_and_notes(line: tuple[socket.socket, socket.socket]) -> None:
    client = FakeClient()
    send_lines(
        line[1],
        {"facts": {"code": 1}},
        {"order": "close_frame", "arguments": {}},
        {"order": "terminate", "arguments": {}, "answer": True},
        {"order": "flood", "arguments": {"limit": 7}, "answer": True},
        {"facts": {"code": 2, "more": None}},
    )
    line[1].shutdown(socket.SHUT_WR)
    facts = obey(client, line[0])
    assert facts == {"over": True, "code": 2, "more": None, "client": {"end": "left"}}
    assert sorted(client.did) == ["close_frame", "terminate"]
    answers = [json.loads(text)["result"] for text in line[1].recv(1000).splitlines()]
    assert sorted(answers, key=str) == [7, None]


def test_an_order_that_cannot_be_followed(line: tuple[socket.socket, socket.socket]) -> None:
    client = FakeClient()
    send_lines(line[1], {"order": "reset", "arguments": {}, "answer": True})
    line[1].shutdown(socket.SHUT_WR)
    assert obey(client, line[0])["over"]
    assert json.loads(line[1].recv(100)) == {"result": None}


def test_a_script_that_is_gone_before_its_answer(
    line: tuple[socket.socket, socket.socket],
) -> None:
    client = FakeClient()
    send_lines(line[1], {"order": "reset", "arguments": {}, "answer": True})
    line[1].close()
    assert obey(client, line[0])["over"]
    assert client.did == ["reset"]


def test_a_script_that_does_not_end(line: tuple[socket.socket, socket.socket]) -> None:
    send_lines(line[1], {"facts": {"code": 1}})
    assert obey(FakeClient(), line[0], 0.05) == {
        "over": False,
        "code": 1,
        "client": {"end": "left"},
    }


def test_lines_end_with_a_process_that_is_killed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        ours.sendall(b"unread")
        send_lines(theirs, {"connection": "c1"})
        assert select.select([theirs], [], [], 5)[0] == [theirs]
        theirs.close()  # with something unread in it: a reset
        assert list(lines(ours, time.monotonic() + 5)) in ([], [{"connection": "c1"}])
