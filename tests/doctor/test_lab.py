"""Conversations: a client and a script find each other, whatever else connects."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from wsnursery._doctor import _lab
from wsnursery._doctor._bench import ENVIRONMENT_VARIABLE
from wsnursery._doctor._commands import Command
from wsnursery._doctor._lab import Lab, opened_lab
from wsnursery._doctor._process import HOST

Answer = Callable[[bytes, socket.socket, int], None]


class FakeProcess:
    """A server in a thread: `answer` gets the request, its socket and the port of the desk."""

    def __init__(self, answer: Answer, desk: int) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.terminated = 0
        self.killed = False
        self._answer = answer
        self._desk = desk
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection.recv(65536), connection, self._desk)

    def close(self) -> None:
        with suppress(OSError):  # the second time
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def terminate(self) -> None:
        self.terminated += 1

    def kill(self) -> None:
        self.killed = True

    def last_words(self) -> str:
        return "its last words"


@contextmanager
def lab(answer: Answer) -> Iterator[tuple[Lab, FakeProcess]]:
    with socket.create_server((HOST, 0)) as desk:
        process = FakeProcess(answer, desk.getsockname()[1])
        try:
            yield Lab(process, desk), process  # type: ignore[arg-type]
        finally:
            process.close()


def report(desk: int, name: str, *messages: Any) -> socket.socket:
    line = socket.create_connection((HOST, desk))
    for message in ({"connection": name}, *messages):
        line.sendall(json.dumps(message).encode() + b"\n")
    return line


def path_and_name(request: bytes) -> list[str]:
    return request.split()[1].decode().strip("/").split("?")


def run_script(request: bytes, connection: socket.socket, desk: int) -> None:
    path, name = path_and_name(request)
    report(desk, "c99").close()  # of an abandoned connection
    socket.create_connection((HOST, desk)).close()  # of no script at all
    early = request.endswith(b"early")
    report(desk, name, {"facts": {"path": path, "early": early}}).close()


def test_scripts_are_distinguished() -> None:
    with lab(run_script) as (subject, _):
        facts = subject.run(["raw/leave/reset", "raw/leave/fin"])
        early = subject.run(["raw/early_frame/"], early=True, receive_buffer=4096)
    assert {script: found["path"] for script, found in facts.items()} == {
        "raw/leave/reset": "raw/leave/reset",
        "raw/leave/fin": "raw/leave/fin",
    }
    assert all(found["over"] and not found["early"] for found in facts.values())
    assert early["raw/early_frame/"]["early"]


def test_the_server_is_terminated_once_for_all_that_ask() -> None:
    def ask(request: bytes, connection: socket.socket, desk: int) -> None:
        _, name = path_and_name(request)
        line = report(desk, name, {"order": "terminate", "arguments": {}})
        line.close()

    with lab(ask) as (subject, process):
        subject.run(["raw/shutdown/receive", "raw/shutdown/sleep"])
        assert process.terminated == 1


def test_a_server_without_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: bytes, connection: socket.socket, desk: int) -> None:
        connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")

    monkeypatch.setattr(_lab, "REPORT", 0.05)
    with lab(refuse) as (subject, _):
        facts = subject.run(["raw/hello/"])["raw/hello/"]
    assert facts == {"over": True, "reached": False, "client": {"status": 404, "end": "FIN"}}


def test_an_interruption_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lab, "_converse", interrupted)
    with lab(run_script) as (subject, process):
        with pytest.raises(KeyboardInterrupt):
            subject.run(["raw/hello/"])
        assert process.killed


def test_a_server_that_is_gone() -> None:
    with lab(run_script) as (subject, process):
        process.close()
        assert subject.run(["raw/hello/"]) == {"raw/hello/": {"over": False, "reached": False}}


def test_opened_lab_gives_the_server_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    ports: list[int] = []
    process: Any = object()

    @contextmanager
    def started(command: Command, reports: int) -> Iterator[Any]:
        ports.append(reports)
        yield process

    monkeypatch.setattr(_lab, "started", started)
    with opened_lab(Command("shown", ())) as subject:
        socket.create_connection((HOST, ports[0])).close()
        assert subject.process is process
    assert ENVIRONMENT_VARIABLE not in os.environ
