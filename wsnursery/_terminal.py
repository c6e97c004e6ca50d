"""``python -m wsnursery connect URL``: a WebSocket client for the terminal."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress

import anyio
import trio

from ._codes import CloseCode
from ._engine.websocket import WebSocket
from ._errors import LocalProtocolError, WebSocketDisconnected
from .trio_websocket import HandshakeRejected, connect

HELP = """\
A line is sent as a text message. Lines with a slash in front:
  /close [CODE [REASON]]   close the connection (1000), as do Ctrl-C and the end of the input
  /hex BYTES               send a binary message, such as /hex 00 ff
  //TEXT                   send the text /TEXT
  /help                    this"""

SHOWN_BYTES = 32
"""How much of a binary message is shown, in bytes."""

READ_BYTES = 4096
"""How much is read of the input at once."""

INTERRUPTED = 130
"""The exit status after Ctrl-C while there is no connection to close, as shells have it."""

Say = Callable[[str], None]


def main(arguments: Sequence[str]) -> int:
    """Connect and talk until one side closes.

    Args:
        arguments: Those of the command line behind ``connect``.

    Returns:
        The exit status: 0 after a close, 1 if there was no connection or it broke.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.wait is None:
        chosen.wait = 0.0 if sys.stdin.isatty() else 1.0
    try:
        return trio.run(_run, chosen)
    except ValueError as exc:
        parser.error(str(exc))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wsnursery connect",
        description="Talk to a WebSocket server, line by line.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", metavar="URL", help="ws://host:port/path, or wss://... for TLS")
    parser.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="NAME:VALUE",
        help="another request header; may be repeated",
    )
    parser.add_argument(
        "-s",
        "--subprotocol",
        action="append",
        default=[],
        metavar="NAME",
        help="offer a subprotocol; may be repeated",
    )
    parser.add_argument(
        "--wait",
        type=float,
        metavar="SECONDS",
        help="how long to wait for answers after the end of the input "
        "(1 if it is not a terminal, else 0)",
    )
    return parser


def _header(text: str) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"write NAME:VALUE, not {text!r}")
    return name.strip().encode(), value.strip().encode()


async def _run(chosen: argparse.Namespace) -> int:
    connecting = connect(chosen.url, headers=chosen.header, subprotocols=chosen.subprotocol)
    talk = Talk(Lines(sys.stdin.fileno()), say=say, note=note, wait=chosen.wait)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.obey, signals)
            status = await talk.over(connecting)
            nursery.cancel_scope.cancel()
    return status


class Talk:
    """One conversation in a terminal.

    Args:
        lines: What the user types.
        say: Shows a message.
        note: Shows everything else.
        wait: Seconds to wait for answers after the last line.
    """

    def __init__(self, lines: AsyncIterator[str], *, say: Say, note: Say, wait: float) -> None:
        self._lines = lines
        self._say = say
        self._note = note
        self._wait = wait
        self._ws: WebSocket | None = None
        self._scope = trio.CancelScope()

    async def over(self, connecting: AbstractAsyncContextManager[WebSocket]) -> int:
        """Talk over a connection until one side closes; return the exit status."""
        with self._scope:
            try:
                async with connecting as self._ws:
                    await self._talk(self._ws)
            except HandshakeRejected as exc:
                self._note(f"{exc}: {escaped(exc.body.decode(errors='replace'))}")
                return 1
            except WebSocketDisconnected as exc:
                self._note(str(exc) if exc.__cause__ is None else f"{exc}: {exc.__cause__}")
                return 1 if exc.code is None else 0
            except OSError as exc:
                self._note(f"cannot connect: {exc}")
                return 1
            reason = f" ({escaped(self._ws.close_reason)})" if self._ws.close_reason else ""
            self._note(f"closed with {self._ws.close_code}{reason}")
            return 0
        return INTERRUPTED

    async def obey(self, signals: AsyncIterator[int]) -> None:
        """Close on the first signal, stop at once on the second."""
        async for _ in signals:
            if self._ws is None or self._ws.state != "open":
                self._scope.cancel()
            else:
                await self._ws.close()

    async def _talk(self, ws: WebSocket) -> None:
        self._note("connected; /help lists what else can be typed")
        ws.start_soon(self._send_lines, ws)
        async for message in ws:
            self._say(f"< {readable(message)}")

    async def _send_lines(self, ws: WebSocket) -> None:
        # What is typed while the connection ends has nowhere to go.
        with suppress(WebSocketDisconnected, anyio.ClosedResourceError):
            async for line in self._lines:
                try:
                    await self._take(ws, line)
                except (LocalProtocolError, ValueError) as exc:
                    self._note(str(exc))
                if ws.state != "open":
                    return  # closed by that line: there is no next one to wait for
            await trio.sleep(self._wait)
            await ws.close()

    async def _take(self, ws: WebSocket, line: str) -> None:
        command, _, rest = line.partition(" ")
        if command == "/close":
            code, _, reason = rest.partition(" ")
            await ws.close(int(code or CloseCode.NORMAL_CLOSURE), reason)
        elif command == "/hex":
            await ws.send(bytes.fromhex(rest))
        elif command.startswith("//"):
            await ws.send(line[1:])
        elif command.startswith("/"):
            self._note(HELP)
        else:
            await ws.send(line)


class Lines:
    """The lines of a file descriptor, without their ends.

    It is read in a thread, because a terminal, a pipe and a file want to be waited for differently;
    by its descriptor, because a thread that holds the lock of `sys.stdin` would block the end of
    the process.

    Args:
        file: The descriptor.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._rest = b""
        self._lines: deque[bytes] = deque()

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        """The next line."""
        while not self._lines:
            data = await trio.to_thread.run_sync(
                os.read, self._file, READ_BYTES, abandon_on_cancel=True
            )
            if not data and not self._rest:
                raise StopAsyncIteration
            *lines, self._rest = (self._rest + (data or b"\n")).split(b"\n")
            self._lines.extend(lines)
        return self._lines.popleft().decode(errors="replace").removesuffix("\r")


def say(line: str) -> None:
    """Show a message at once, also in a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Show something that is no message."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def readable(message: str | bytes) -> str:
    """A message on one line, without anything that could command the terminal."""
    if isinstance(message, str):
        return escaped(message)
    shown = message[:SHOWN_BYTES].hex(" ")
    return f"{len(message)} bytes: {shown}{' ...' * (len(message) > SHOWN_BYTES)}"


def escaped(text: str) -> str:
    """A peer's text with its control characters escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
