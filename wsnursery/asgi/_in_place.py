"""Which servers' own ``receive`` and ``send`` an application's task may call itself, in place.

On every other server, and through middleware, the receiver task and the sender task make the calls,
with the same outcome. Nothing is imported to recognise a server.

==============================  =============================================  ====================
server                          its own callable                               checked with
==============================  =============================================  ====================
Hypercorn, trio worker          ``MemoryReceiveChannel.receive``: trio         hypercorn 0.16 - 0.18
                                promises that a cancelled call loses nothing
Hypercorn, asyncio worker       ``asyncio.Queue.get``: as CPython promises.    hypercorn 0.16 - 0.18
                                A waiting call is interrupted through          CPython 3.11 - 3.13
                                ``asyncio.Queue._getters``, its futures
uvicorn (sansio, wsproto)       a method that waits on an ``asyncio.Queue``,   uvicorn 0.53 - 0.54
                                and does not wait for anything else
Hypercorn, HTTP/1               ``WSStream.app_send``, which shields its       hypercorn 0.16 - 0.18
                                write on trio once the lock is taken
==============================  =============================================  ====================

When a release renames an attribute, the server is no longer recognised. Users then lose speed, but
the contract holds, and `tests/asgi/test_recognised.py` fails.
"""

from __future__ import annotations

import select
import socket
import sys
from array import array
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from wsnursery._backend.queues import (
    AsyncioQueue,
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
from ._socket import server_connection_of

UVICORN_RECEIVE = {
    ("uvicorn.protocols.websockets.websockets_sansio_impl", "receive"),
    ("uvicorn.protocols.websockets.wsproto_impl", "receive"),
}
UVICORN_SEND = {
    ("uvicorn.protocols.websockets.websockets_sansio_impl", "send"),
    ("uvicorn.protocols.websockets.wsproto_impl", "send"),
}
HYPERCORN_SEND = ("hypercorn.protocol.ws_stream", "app_send")
"""The module of the class, and the name of its method."""

LARGEST_IN_PLACE = 16 * 1024
"""The largest message that is sent in place on trio, in bytes. trio sets ``TCP_NOTSENT_LOWAT`` to
16 KiB, so a writable socket takes one message of that size without waiting for the peer."""


def sides_of(
    receive: Receive, send: Send, parse: Parse, options: Options, *, on_trio: bool
) -> Sides:
    """Choose how the two sides of a connection call this server.

    Strict mode checks the documented calls of a server, so nothing is called in place there. Where
    all messages are discarded, no reader could receive in place.
    """
    incoming: Callable[..., IncomingSide] = IncomingSide
    outgoing: Callable[..., OutgoingSide] = OutgoingSide
    queue = _queue_of(receive) if options.incoming == "buffer" and not options.strict else None
    if isinstance(queue, TrioQueue):
        incoming = partial(TrioIncoming, queue, parse)
    elif queue is not None:
        incoming = partial(AsyncioIncoming, queue, parse)
    # The sends that are recognised below are coroutine functions, whose steps can be made by hand.
    raw = cast("RawSend", send)
    if options.strict:
        pass
    elif not on_trio:
        if _place(send) in {HYPERCORN_SEND, *UVICORN_SEND}:
            outgoing = partial(AsyncioOutgoing, raw)
    elif (capacity := _capacity_below(send)) is not None:
        outgoing = partial(TrioOutgoing, raw, capacity.takes)
    return Sides(incoming, outgoing)


def _queue_of(receive: Receive) -> TrioQueue | AsyncioQueue | None:
    """The queue behind a known server's own ``receive``; `None` for every other one."""
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


def _capacity_below(send: Send) -> SocketCapacity | None:
    """The capacity of the socket below Hypercorn's own ``send``, on trio and over HTTP/1."""
    # Over HTTP/2 many streams share the socket, so its capacity says nothing about one of them.
    connection = server_connection_of(send) if _place(send) == HYPERCORN_SEND else None
    stream = getattr(send, "__self__", None)
    lock = getattr(None if connection is None else connection.server, "send_lock", None)
    if connection is None or connection.shared or lock is None or not hasattr(stream, "closed"):
        return None
    if sys.platform != "linux":
        return None
    return SocketCapacity(stream, lock.locked, connection.socket)


def _place(method: object) -> tuple[str, str]:
    """The module of a method's class, and its name."""
    owner = getattr(method, "__self__", None)
    return type(owner).__module__, getattr(method, "__name__", "")


class SocketCapacity:
    """Whether a socket takes a whole message at once.

    Hypercorn on trio takes a lock, then writes under a shield. If the lock is free and the kernel's
    buffer has space, a cancellation of the caller cannot interrupt the write and the peer cannot
    delay it. A closed stream takes nothing: its send returns without a checkpoint, so that a loop
    of such sends would let no other task run, and the disconnect would never be received.
    """

    __slots__ = ("_descriptor", "_has_room", "_is_locked", "_limit", "_stream")

    def __init__(self, stream: Any, is_locked: Callable[[], bool], sock: Any) -> None:
        self._stream = stream
        self._is_locked = is_locked
        self._descriptor: int = sock.fileno()
        is_unix = sock.family == socket.AF_UNIX
        self._limit: int = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) if is_unix else 0
        self._has_room: Callable[[], object] | None = None
        """Asks the kernel. Made for the first message, because an idle connection needs none."""

    def takes(self, size: int) -> bool:
        """Whether a message of ``size`` bytes can be written at once."""
        if size > LARGEST_IN_PLACE or self._stream.closed or self._is_locked():
            return False
        if self._has_room is None:
            if self._limit:
                self._has_room = _unix_has_room(self._descriptor, self._limit)
            else:
                self._has_room = _tcp_has_room(self._descriptor)
        return bool(self._has_room())


def _tcp_has_room(descriptor: int) -> Callable[[], object]:
    """Make a function that returns something true if the socket is writable."""
    # Registered once, because a new poll object for every message would cost as much as the call
    # that is saved.
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return partial(poll.poll, 0)


def _unix_has_room(descriptor: int, limit: int) -> Callable[[], bool]:
    """Make a function that returns whether less than the whole buffer of the socket is in use.

    poll(2) calls a Unix socket writable only while less than a quarter of it is in use.
    """
    # Imported here, because Windows has neither module. This is for Linux only.
    from fcntl import ioctl
    from termios import TIOCOUTQ

    # One for each socket, because another thread may run another event loop.
    in_use = array("i", [0])

    def has_room() -> bool:
        try:
            ioctl(descriptor, TIOCOUTQ, in_use)
        except OSError:
            return True  # it is closed, so the raw send raises instead of waiting
        return in_use[0] < limit

    return has_room
