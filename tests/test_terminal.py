"""The client for the terminal: what it shows, and how it ends."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import anyio.from_thread
import pytest

from wsnursery import WebSocket
from wsnursery._terminal import INTERRUPTED, escaped, main, readable
from wsnursery.trio_websocket import serve

Handler = Callable[[WebSocket], Any]


@contextmanager
def serving(handler: Handler) -> Iterator[str]:
    """Our server on a trio of its own, in a thread: its address."""
    with anyio.from_thread.start_blocking_portal("trio") as portal:
        future, listening = portal.start_task(partial(serve, handler, "127.0.0.1", 0))
        try:
            yield f"ws://127.0.0.1:{listening.port}/"
        finally:
            future.cancel()


class Terminal:
    """Standard input and what has been shown."""

    def __init__(self, capsys: pytest.CaptureFixture[str], write: int) -> None:
        self._capsys = capsys
        self._write = write
        self.messages = self.notes = ""

    def run(self, url: str, *arguments: str, typed: str = "", ends: bool = True) -> int:
        """Run the client; `ends` says whether the input does."""
        os.write(self._write, typed.encode())
        if ends:
            os.close(self._write)
        status = main([url, *arguments])
        self.messages, self.notes = self._capsys.readouterr()
        return status


@pytest.fixture
def terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    read, write = os.pipe()
    with os.fdopen(read) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield Terminal(capsys, write)
        with suppress(OSError):
            os.close(write)


async def echo(ws: WebSocket) -> None:
    await ws.accept(next(iter(ws.subprotocols), None))
    async for message in ws:
        await ws.send(message)


def test_lines(terminal: Terminal) -> None:
    with serving(echo) as url:
        assert terminal.run(url, typed="one\r\ntwo\n//three\n/hex 00 ff\nlast") == 0
    assert terminal.messages == "< one\n< two\n< /three\n< 2 bytes: 00 ff\n< last\n"
    assert terminal.notes.startswith("connected")
    assert terminal.notes.endswith("closed with 1000\n")


def test_close_with_a_code(terminal: Terminal) -> None:
    with serving(echo) as url:
        assert terminal.run(url, typed="/close 4001 see you\n/close\nlate\n") == 0
    assert terminal.notes.endswith("closed with 4001 (see you)\n")


def test_close_does_not_wait_for_another_line(terminal: Terminal) -> None:
    began = time.monotonic()
    with serving(echo) as url:
        assert terminal.run(url, typed="/close\n", ends=False) == 0
    assert terminal.notes.endswith("closed with 1000\n")
    assert time.monotonic() - began < 4  # less than the grace period


def test_mistakes_are_explained(terminal: Terminal) -> None:
    with serving(echo) as url:
        assert terminal.run(url, typed="/close 99\n/close soon\n/hex x\n/what\n/close\n") == 0
    assert "close code 99 may not be sent" in terminal.notes
    assert "invalid literal for int()" in terminal.notes
    assert "non-hexadecimal number" in terminal.notes
    assert "//TEXT" in terminal.notes


def test_headers_and_subprotocols(terminal: Terminal) -> None:
    asked: list[Any] = []

    async def look(ws: WebSocket) -> None:
        asked.append((dict(ws.headers)[b"x-id"], ws.subprotocols))
        await echo(ws)

    with serving(look) as url:
        arguments = ["-H", "X-Id: 7", "-s", "a", "-s", "b", "--wait", "0"]
        assert terminal.run(url, *arguments) == 0
    assert asked == [(b"7", ("a", "b"))]


def test_server_that_closes(terminal: Terminal) -> None:
    async def leave(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()
        await ws.close(4002, "\x1b[31mred")

    with serving(leave) as url:
        assert terminal.run(url, "--wait", "9", typed="hello\n") == 0
    assert terminal.notes.endswith("closed with 4002 (\\x1b[31mred)\n")


def test_server_that_closes_at_once(terminal: Terminal) -> None:
    async def leave(ws: WebSocket) -> None:
        await ws.accept()

    with serving(leave) as url:
        assert terminal.run(url, ends=False) == 0
    assert "1000" in terminal.notes


def test_server_that_breaks(terminal: Terminal) -> None:
    async def reset(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()
        socket = ws._transport._stream._stream.socket  # type: ignore[attr-defined]
        socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER
        socket.close()

    with serving(reset) as url:
        assert terminal.run(url, "--wait", "9", typed="hello\n") == 1
    assert "Connection reset by peer" in terminal.notes


def test_silent_end(terminal: Terminal) -> None:
    """The server is gone without a code and without an error."""

    async def vanish(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()
        ws._transport._stream._stream.socket.close()  # type: ignore[attr-defined]

    with serving(vanish) as url:
        assert terminal.run(url, "--wait", "9", typed="hello\n") == 0
    assert terminal.notes.endswith("closed with 1006\n")


def test_rejected(terminal: Terminal) -> None:
    async def turn_away(ws: WebSocket) -> None:
        await ws.reject(404, body=b"no \x07 such room")

    with serving(turn_away) as url:
        assert terminal.run(url) == 1
    assert terminal.notes == (
        "the server has rejected the WebSocket handshake with status 404: no \\x07 such room\n"
    )


def test_nobody_listens(terminal: Terminal) -> None:
    with serving(echo) as url:
        pass
    assert terminal.run(url) == 1
    assert terminal.notes.startswith("cannot connect: ")


@pytest.mark.parametrize("arguments", [["http://127.0.0.1"], ["ws://127.0.0.1", "-H", "x"]])
def test_misuse(terminal: Terminal, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        terminal.run(*arguments)
    assert caught.value.code == 2


# ------------------------------------------------------------------------------------------ Ctrl-C


def test_interrupt_closes(terminal: Terminal) -> None:
    codes: list[int | None] = []

    async def interrupt(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            os.kill(os.getpid(), signal.SIGINT)
        codes.append(ws.close_code)

    with serving(interrupt) as url:
        assert terminal.run(url, typed="go\n", ends=False) == 0
    assert codes == [1000]
    assert terminal.notes.endswith("closed with 1000\n")


def test_interrupt_while_connecting(terminal: Terminal) -> None:
    async def interrupt(ws: WebSocket) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(5)

    with serving(interrupt) as url:
        assert terminal.run(url, ends=False) == INTERRUPTED


def test_second_interrupt_does_not_wait(terminal: Terminal) -> None:
    async def stubborn(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()
        ws._transport._connection._reader_running = False  # type: ignore[attr-defined]
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(0.3)  # its close is not answered
        os.kill(os.getpid(), signal.SIGINT)

    with serving(stubborn) as url:
        began = time.monotonic()
        terminal.run(url, typed="go\n", ends=False)
        assert time.monotonic() - began < 3


# --------------------------------------------------------------------------------- on the terminal


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("plain \N{SNOWMAN}", "plain \N{SNOWMAN}"),
        ("\x1b[2J\n\t\u202e", "\\x1b[2J\\n\\t\\u202e"),
        (b"", "0 bytes: "),
        (bytes(33), "33 bytes: " + " ".join(["00"] * 32) + " ..."),
    ],
)
def test_what_is_shown(message: str | bytes, shown: str) -> None:
    assert readable(message) == shown


def test_escaped() -> None:
    assert escaped("\x07") == "\\x07"
