"""What is known of a server's own ``receive`` and ``send``: where a task may call them itself.

Whatever is not recognised here, middleware around them included, goes through the receiver and the
sender task, with the same outcome. Nothing is imported to recognise a server.

==============================  =============================================  ====================
server                          what it hands out                              known to
==============================  =============================================  ====================
Hypercorn, trio worker          ``MemoryReceiveChannel.receive``: trio         hypercorn 0.16 - 0.18
                                promises that a cancelled call loses nothing
Hypercorn, asyncio worker       ``asyncio.Queue.get``: as CPython promises     hypercorn 0.16 - 0.18
uvicorn (all three protocols)   a method that waits on an ``asyncio.Queue``,   uvicorn 0.53 - 0.54
                                or on an event (legacy)
Hypercorn, HTTP/1               ``WSStream.app_send``, which shields its       hypercorn 0.16 - 0.18
                                write on trio once the lock is taken
==============================  =============================================  ====================

When a release moves an attribute, the server is not recognised any more: `tests/servers` then fails
by name (``test_the_server_is_recognised``), and users lose speed, but no promise.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from wsnursery._backend.queues import (
    AsyncioQueue,
    EventQueue,
    TrioQueue,
    is_asyncio_queue,
    is_trio_channel,
)
from wsnursery._engine.connection import Sides
from wsnursery._engine.incoming import IncomingSide
from wsnursery._engine.outgoing import OutgoingSide
from wsnursery._options import Options
from wsnursery._types import Receive, Send

from ._receiving import AsyncioIncoming, Parse, TrioIncoming
from ._sending import AsyncioOutgoing, RawSend, TrioOutgoing
from ._socket import carrier_of

UVICORN_RECEIVE = {
    ("uvicorn.protocols.websockets.websockets_sansio_impl", "receive"),
    ("uvicorn.protocols.websockets.wsproto_impl", "receive"),
}
UVICORN_SEND = {
    ("uvicorn.protocols.websockets.websockets_sansio_impl", "send"),
    ("uvicorn.protocols.websockets.wsproto_impl", "send"),
}
HYPERCORN_SEND = ("hypercorn.protocol.ws_stream", "app_send")
"""The module of the class whose method is handed out, and the name of the method."""

SMALL = 16 * 1024
"""Bytes of the largest message that is sent in place on trio. trio sets ``TCP_NOTSENT_LOWAT`` to
16 KiB, so a writable socket has room for one such message without waiting for the peer."""


def sides_of(
    receive: Receive, send: Send, parse: Parse, options: Options, *, on_trio: bool
) -> Sides:
    """How the two sides of a connection to this server work.

    Strict mode holds a server to its documented calls alone. Where all messages are discarded,
    there is nothing to read.
    """
    incoming: Callable[..., IncomingSide] = IncomingSide
    outgoing: Callable[..., OutgoingSide] = OutgoingSide
    queue = _queue_of(receive) if options.incoming == "buffer" and not options.strict else None
    if queue is not None:
        incoming = partial(TrioIncoming if on_trio else AsyncioIncoming, queue, parse)
    raw = cast("RawSend", send)
    if options.strict:
        pass
    elif not on_trio:
        if _place(send) in {HYPERCORN_SEND, *UVICORN_SEND}:
            outgoing = partial(AsyncioOutgoing, raw)
    elif (room := _room_below(send)) is not None:
        outgoing = partial(TrioOutgoing, raw, room.is_enough)
    return Sides(incoming, outgoing)


def _queue_of(receive: Receive) -> EventQueue | None:
    """The queue of a server whose own ``receive`` is known."""
    owner, raw = getattr(receive, "__self__", None), cast("Any", receive)
    _, name = _place(receive)
    if is_trio_channel(owner) and name == "receive":
        return TrioQueue(owner)
    if is_asyncio_queue(owner) and name == "get":
        return AsyncioQueue(raw, cast("Any", owner), needs_aftercare=True)
    queue: Any = getattr(owner, "queue", None)
    if _place(receive) in UVICORN_RECEIVE and is_asyncio_queue(queue):
        return AsyncioQueue(raw, queue, needs_aftercare=False)
    return None


def _room_below(send: Send) -> Room | None:
    """The way to the network of Hypercorn's own ``send`` on trio, over HTTP/1."""
    carrier = carrier_of(send) if _place(send) == HYPERCORN_SEND else None
    lock = getattr(None if carrier is None else carrier.server, "send_lock", None)
    if carrier is None or carrier.shared or lock is None or sys.platform != "linux":
        return None
    return Room(lock.locked, carrier.socket)


def _place(method: object) -> tuple[str, str]:
    """The module of a method's class, and its name."""
    owner = getattr(method, "__self__", None)
    return type(owner).__module__, getattr(method, "__name__", "")


class Room:
    """Whether a message can be written at once, neither cut nor made to wait.

    Hypercorn on trio takes a lock, then writes under a shield. With the lock free and room in the
    kernel, its caller's cancellation cannot reach it and the peer cannot make it wait.
    """

    __slots__ = ("_descriptor", "_is_locked", "_limit", "_poll")

    def __init__(self, is_locked: Callable[[], bool], sock: Any) -> None:
        self._is_locked = is_locked
        self._descriptor: int = sock.fileno()
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        # A Unix socket is not called writable any more when a quarter of its buffer is in use.
        is_unix = sock.family == socket.AF_UNIX
        self._limit: int = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) if is_unix else 0

    def is_enough(self, size: int) -> bool:
        """Whether there is room for a message of ``size`` bytes."""
        if size > SMALL or self._is_locked():
            return False
        if self._poll is None:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            self._poll = poll.poll
        return bool(self._poll(0)) or (self._limit > 0 and self._in_use() < self._limit)

    def _in_use(self) -> int:
        from fcntl import ioctl  # not everywhere: this class is for Linux only
        from termios import TIOCOUTQ

        return int.from_bytes(ioctl(self._descriptor, TIOCOUTQ, bytes(4)), sys.byteorder)
