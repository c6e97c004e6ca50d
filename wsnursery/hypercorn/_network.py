"""The network connections of one run of Hypercorn. A failure of one does not affect the others."""

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
"""Seconds between two checks for peers that have closed."""

HANGUP: int | None = getattr(select, "POLLRDHUP", None)
"""The event of poll(2) after the peer has sent FIN or RST, even if data is still unread."""


class NetworkConnections:
    """Knows every network connection of a run, and catches its exceptions.

    Hypercorn's trio worker runs all connections in one nursery, which an exception of one
    connection would cancel. Its asyncio worker logs such an exception.

    Args:
        hangup_timeout: Seconds that a handler may leave messages unread after its peer has closed.
            `None` sets no limit.
        peer_has_gone: Called with Hypercorn's object for the connection of such a peer.
    """

    def __init__(
        self, hangup_timeout: float | None, peer_has_gone: Callable[[object], object]
    ) -> None:
        self._hangup_timeout = hangup_timeout
        self._peer_has_gone = peer_has_gone
        self._open: dict[Any, _NetworkConnection] = {}
        self._failures: set[tuple[CodeType, int]] = set()
        """The places where connections have failed, because each traceback is logged once."""

    def __len__(self) -> int:
        return len(self._open)

    def hypercorn_serve(self) -> Callable[..., Awaitable[None]]:
        """Return Hypercorn's worker for the running backend, with guarded connections."""
        name = "hypercorn.trio" if running_on_trio() else "hypercorn.asyncio"
        base: Any = import_module(f"{name}.tcp_server").TCPServer
        inner = rebound(base.run, ProtocolWrapper=Protocol)
        network = self

        async def run(server: Any) -> None:
            await network._guard(server, inner)

        async def read_data(server: Any) -> None:
            await base._read_data(server)
            # The peer has closed. The task that waits for its next request would keep the
            # connection and the descriptor until `keep_alive_timeout`.
            await server.idle_task.stop()

        # Set Hypercorn's module, because `wsnursery.asgi` recognises the class by its name.
        members = {"run": run, "_read_data": read_data, "__module__": base.__module__}
        if not running_on_trio():
            # For a vanished peer, the kernel reports ETIMEDOUT or EHOSTUNREACH. Neither is a
            # ConnectionError, so Hypercorn would cancel the handler instead of notifying it.
            members["protocol_send"] = rebound(base.protocol_send, ConnectionError=OSError)
            members["_close"] = rebound(base._close, ConnectionResetError=OSError)
        guarded = type("TCPServer", (base,), members)
        worker_serve = rebound(import_module(f"{name}.run").worker_serve, TCPServer=guarded)

        async def serve(app: ASGIApp, config: hypercorn.config.Config, **options: Any) -> None:
            await worker_serve(ASGIWrapper(app), config, **options)  # type: ignore[arg-type]

        return serve

    async def _guard(self, server: Any, run: Callable[[Any], Awaitable[None]]) -> None:
        """Serve one network connection. Only a cancellation leaves this call."""
        connection = self._open[server] = _NetworkConnection(socket_of(server))
        disable_send_eof(ServerConnection(server, connection.socket, shared=False))
        try:
            with anyio.CancelScope() as connection.scope:
                connection.task = None if running_on_trio() else asyncio.current_task()
                await run(server)
        except* Exception as group:  # noqa: BLE001 - it concerns only this connection
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

        Hypercorn stops reading while a handler does not receive, so it does not read the FIN
        either.
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
                    # The application does not end, or it has ended before Hypercorn has delivered
                    # all messages.
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
                continue  # the TLS handshake is in progress, and has its own time limit
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
        """When it was first noticed that the peer has closed; reset by every delivered event."""
        self.delivered: int | None = None
        self.notified = False
        """Whether the handler has been notified."""

    @property
    def descriptor(self) -> int:
        """The file descriptor, or -1."""
        return -1 if self.socket is None else int(self.socket.fileno())

    @property
    def peer(self) -> str:
        """The address of the peer, for the log."""
        try:
            name = self.socket.getpeername()
        except (AttributeError, OSError):
            return ""
        return f" from {name[0]}:{name[1]}" if isinstance(name, tuple) else ""

    def cancel(self) -> None:
        """Cancel the tasks that serve it."""
        if self.task is None:
            self.scope.cancel()
        else:
            # Do not cancel anyio's scope, which would cancel the task again and again while a
            # native task group in it waits for its tasks.
            self.task.cancel()
