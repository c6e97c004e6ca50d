"""The shapes of traffic that are measured, as scripts of a `Peer`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ._peer import Peer, Steps
from ._wire import client_frame, server_frame

IN_FLIGHT = 32


@dataclass(frozen=True)
class Shape:
    """A kind of traffic.

    Attributes:
        path: the handler that serves it.
        messages: the number for a round of about 8 ms.
        script: exchanges this many messages of a text with a server.
    """

    path: str
    messages: int
    script: Callable[[Peer, int, str], Steps]


def _ping_pong(peer: Peer, messages: int, text: str) -> Steps:
    question, answer = client_frame(text), len(server_frame(text))
    for _ in range(messages):
        yield from peer.write(question)
        yield from peer.read(answer)


def _pipelined_echo(peer: Peer, messages: int, text: str) -> Steps:
    question, answer = client_frame(text), len(server_frame(text))
    to_write, read, to_read = messages, 0, messages * answer
    ready = min(IN_FLIGHT, to_write)
    while read < to_read:
        yield from peer.write(question * ready)
        to_write -= ready
        before = read // answer
        read += yield from peer.read_some()
        ready = min(read // answer - before, to_write)


def _push(peer: Peer, messages: int, text: str) -> Steps:
    yield from peer.write(client_frame(f"{messages}:{text}"))
    yield from peer.read(messages * len(server_frame(text)))


def _receive(peer: Peer, messages: int, text: str) -> Steps:
    yield from peer.write(client_frame(text) * messages + client_frame("end"))
    yield from peer.read(len(server_frame("end")))


SHAPES = {
    "ping-pong": Shape("/echo", 80, _ping_pong),
    "echo32": Shape("/echo", 160, _pipelined_echo),
    "push": Shape("/push", 240, _push),
    "receive": Shape("/receive", 320, _receive),
}
"""The shapes: one message at a time, 32 echoes in flight, only sends, only receives."""
