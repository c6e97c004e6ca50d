"""The network connections of one run of Hypercorn: what one of them does ends that one only."""

from __future__ import annotations

import asyncio
import select
import traceback
from collections.abc import Awaitable, Callable
from importlib import import_module
from types import CodeType
from typing import Any

import anyio
import hypercorn.config
from hypercorn.app_wrappers import ASGIWrapper

from wsnursery._backend.running import running_on_trio
from wsnursery.asgi._socket import ServerConnection, disable_send_eof, drop, socket_of

from ._drain import ASGIApp
from ._logs import logger
from ._protocol import Protocol, rebound

HANGUP_CHECK_SECONDS = 5.0
"""Seconds between two looks for peers that have closed."""

HANGUP: int | None = getattr(select, "POLLRDHUP", None)
"""The event of poll(2) that says that the peer has sent FIN or RST, whatever is still unread."""


class NetworkConnections:
    """Knows every network connection of a run from its first byte on, and guards it.

    Hypercorn's trio worker runs all of them in one nursery, which an exception of one of them
    would cancel. Its asyncio worker logs it.

    Args:
        hangup_timeout: Seconds that the handler of a peer which has closed may take nothing of what
            that one has sent before. `None` lets it.
        peer_has_gone: Told Hypercorn's object for the connection of such a peer.
    """

    def __init__(
        self, hangup_timeout: float | None, peer_has_gone: Callable[[object], object]
    ) -> None:
        self._hangup_timeout = hangup_timeout
        self._peer_has_gone = peer_has_gone
        self._open: dict[Any, _NetworkConnection] = {}
        self._failures: set[tuple[CodeType, int]] = set()
        """Where a connection has failed before: the traceback is logged once."""

    def __len__(self) -> int:
        return len(self._open)

    def hypercorn_serve(self) -> Callable[..., Awaitable[None]]:
        """What serves in Hypercorn's worker for the backend that runs, with guarded connections."""
        name = "hypercorn.trio" if running_on_trio() else "hypercorn.asyncio"
        base: Any = import_module(f"{name}.tcp_server").TCPServer
        inner = rebound(base.run, ProtocolWrapper=Protocol)
        network = self

        async def run(server: Any) -> None:
            await network._guard(server, inner)

        async def read_data(server: Any) -> None:
            await base._read_data(server)
            # The peer has closed. The task that waits for its next request would keep the
            # connection, and the descriptor, for `keep_alive_timeout`.
            await server.idle_task.stop()

        # Of Hypercorn's module, by whose name `wsnursery.asgi` knows it.
        members = {"run": run, "_read_data": read_data, "__module__": base.__module__}
        guarded = type("TCPServer", (base,), members)
        worker_serve = rebound(import_module(f"{name}.run").worker_serve, TCPServer=guarded)

        async def serve(app: ASGIApp, config: hypercorn.config.Config, **options: Any) -> None:
            await worker_serve(ASGIWrapper(app), config, **options)  # type: ignore[arg-type]

        return serve

    async def _guard(self, server: Any, run: Callable[[Any], Awaitable[None]]) -> None:
        """Serve one network connection. No exception leaves this but a cancellation."""
        connection = self._open[server] = _NetworkConnection(socket_of(server))
        disable_send_eof(ServerConnection(server, connection.socket, shared=False))
        try:
            with anyio.CancelScope() as connection.scope:
                connection.task = None if running_on_trio() else asyncio.current_task()
                await run(server)
        except* Exception as group:  # noqa: BLE001 - whatever it is, it concerns this one
            self._log(group, connection)
        finally:
            del self._open[server]

    def _log(self, group: ExceptionGroup[Exception], connection: _NetworkConnection) -> None:
        exc: BaseException = group
        while isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        *_, (frame, line) = traceback.walk_tb(exc.__traceback__)
        place = (frame.f_code, line)
        is_new = place not in self._failures
        self._failures.add(place)
        logger.error(
            "closed a network connection%s, because serving it failed: %r in %s",
            connection.peer,
            exc,
            frame.f_code.co_qualname,
            exc_info=exc if is_new else None,
        )

    def drop_all(self) -> None:
        """Reset every network connection that is still open."""
        for server, connection in tuple(self._open.items()):
            if connection.socket is not None:
                drop(server, connection.socket)

    async def look_for_hangups(self) -> None:
        """Find the peers that have closed although Hypercorn does not see it. Runs for ever.

        Hypercorn stops reading while a handler takes nothing, so it does not read the FIN either.
        """
        if HANGUP is None or self._hangup_timeout is None:
            return
        while True:
            await anyio.sleep(min(HANGUP_CHECK_SECONDS, self._hangup_timeout))
            now = anyio.current_time()
            for server in self._hung_up():
                connection = self._open[server]
                delivered = server.protocol.waits_for_application()
                if delivered is None or connection.delivered != delivered:
                    connection.since, connection.delivered = now, delivered
                elif connection.notified:
                    # Its application does not end, or has left what Hypercorn still delivers.
                    connection.cancel()
                elif now - connection.since >= self._hangup_timeout:
                    connection.notified = True
                    logger.info(
                        "the peer%s has closed, and its handler reads nothing", connection.peer
                    )
                    self._peer_has_gone(server)

    def _hung_up(self) -> list[Any]:
        """The connections whose peers have closed, or whose sockets the event loop has closed."""
        assert HANGUP is not None
        poll = select.poll()
        hung_up: list[Any] = []
        open_ones: dict[int, Any] = {}
        for server, connection in self._open.items():
            descriptor = connection.descriptor
            if not hasattr(server, "protocol"):
                continue  # it is in its TLS handshake, which has a limit of its own
            if descriptor < 0:
                hung_up.append(server)
            else:
                open_ones[descriptor] = server
                poll.register(descriptor, HANGUP)
        return hung_up + [open_ones[descriptor] for descriptor, _ in poll.poll(0)]


class _NetworkConnection:
    """One network connection.

    Args:
        socket: Its socket; `None` if it has been closed already.
    """

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.scope: anyio.CancelScope
        self.task: asyncio.Task[Any] | None = None
        self.since = 0.0
        """When it was first seen that the peer has closed, and nothing was delivered since."""
        self.delivered: int | None = None
        self.notified = False
        """The handler has been notified."""

    @property
    def descriptor(self) -> int:
        """The file descriptor, or -1."""
        return -1 if self.socket is None else int(self.socket.fileno())

    @property
    def peer(self) -> str:
        """The peer, for the log."""
        try:
            name = self.socket.getpeername()
        except (AttributeError, OSError):
            return ""
        return f" from {name[0]}:{name[1]}" if isinstance(name, tuple) else ""

    def cancel(self) -> None:
        """Cancel everything that serves it."""
        if self.task is None:
            self.scope.cancel()
        else:
            # Not by anyio's scope, which would cancel the task again and again while a native task
            # group in it waits for its tasks.
            self.task.cancel()
