"""Run an ASGI application with a client: ``async with connect(app) as client``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from ._errors import ApplicationStuck, HandshakeDenied
from ._livelock import stopped_by_livelock
from ._peer import DEFAULT_TIMEOUT, Peer
from ._personalities import SILENT, Personality
from ._server import Server
from ._transcript import attach
from ._where import where_it_waits

if TYPE_CHECKING:
    from ._channel import Channel
    from ._faults import Fault

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application. ``Any``, because every framework has its own types."""


class Client(Peer):
    """The peer of an application that runs in its own task. Made by :func:`connect`."""

    server: Server
    """The server between this client and the application."""

    def __init__(self, channel: Channel, *, timeout: float, answers_close: bool) -> None:
        super().__init__(channel, timeout=timeout, answers_close=answers_close)
        self._scope = anyio.CancelScope()
        self._call: Awaitable[None] | None = None
        self._finished = False
        self._exception: BaseException | None = None
        self._exception_raised = False
        self._stuck: ApplicationStuck | None = None

    @property
    def exception(self) -> BaseException | None:
        """The exception of the application, once it has ended. ``None`` if it returned."""
        return self._exception

    @property
    def unraised_exception(self) -> BaseException | None:
        """The exception of the application, unless :meth:`app_finished` has raised it."""
        return None if self._exception_raised else self._exception

    async def handshake(self) -> None:
        """Wait for the answer to the handshake. :func:`connect` calls this by default.

        Raises:
            HandshakeDenied: The application denied the handshake, or returned without an answer.
            ApplicationStuck: The application did not answer for ``timeout`` seconds.
            Exception: The exception that the application raised instead of answering.

        *Checkpoint*: if it has to wait. *Cancellation*: changes nothing.
        """
        channel = self._channel
        await self._wait_for(
            lambda: channel.accepted or channel.denied or self._finished,
            "neither accepted nor denied the handshake",
        )
        if channel.accepted:
            return
        await self.app_finished()
        status, headers = channel.denial or (self.server.personality.unanswered_status, [])
        raise HandshakeDenied(status, headers, channel.denial_body)

    async def app_finished(self) -> None:
        """Wait for the end of the application, and raise its exception if there is one.

        The exception is not raised again when the block of :func:`connect` is left.

        Raises:
            ApplicationStuck: The application did not end for ``timeout`` seconds.
            BaseException: The exception of the application.

        *Checkpoint*: yes. *Cancellation*: leaves the application running.
        """
        await self.until_finished()
        self._exception_raised = True
        if self._exception is not None:
            raise self._exception

    async def until_finished(self) -> None:
        """Wait for the end of the application, without raising its exception.

        Raises:
            ApplicationStuck: The application did not end for ``timeout`` seconds.

        *Checkpoint*: yes. *Cancellation*: leaves the application running.
        """
        await self._wait_for(lambda: self._finished, "did not end")

    def cancel_app(self) -> None:
        """Cancel the application's task, as a server does when it shuts down."""
        self._scope.cancel()

    async def run(self, app: Application) -> None:
        """Run the application to its end (:func:`connect` does this, in a task).

        *Checkpoint*: as the application. *Cancellation*: cancels the application, as a server
        does.
        """
        server = self.server
        with self._scope, stopped_by_livelock(self._stop):
            try:
                self._call = app(server.scope, server.receive, server.send)
                await self._call
            except Exception as error:  # noqa: BLE001 - it is raised in the test
                self._exception = error
            finally:
                if self._stuck is not None:
                    self._stuck.__context__ = self._exception
                    self._exception = self._stuck
                self._call = None
                self._finished = True
                server.app_ended(self._exception)

    def _stop(self, said: str) -> None:
        """Stop an application that loops without waiting."""
        self._stuck = ApplicationStuck(said)
        self._scope.cancel()

    def _whereabouts(self) -> str:
        where = where_it_waits(self._call)
        return f"; it waits {where}" if where else ""


class ClientServer(Server):
    """A server whose peer is a :class:`Client`."""

    client: Client

    def _make_peer(self, channel: Channel, timeout: float, answers_close: bool) -> Peer:
        self.client = Client(channel, timeout=timeout, answers_close=answers_close)
        self.client.server = self
        return self.client


@asynccontextmanager
async def connect(
    app: Application,
    *,
    path: str = "/",
    query_string: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
    subprotocols: Sequence[str] = (),
    personality: Personality = SILENT,
    faults: Iterable[Fault] = (),
    receive_queue: int | None = None,
    send_queue: int | None = None,
    answers_close: bool = True,
    timeout: float = DEFAULT_TIMEOUT,
    scope: Mapping[str, Any] | None = None,
    wait_for_accept: bool = True,
) -> AsyncGenerator[Client]:
    """Run an ASGI application in a task, with a connected client.

    Entering waits until the application has accepted. Leaving closes the connection with 1000 if
    it is still open, and waits for the application to end. If the block raised, the application
    is cancelled instead. An exception of the application is raised at the end of the block, with
    its own traceback, unless :meth:`Client.app_finished` has already raised it.

    Args:
        app: The application: any ASGI application with WebSockets.
        wait_for_accept: If ``False``, enter at once, and call ``await client.handshake()`` later.
        path: See :class:`Server`, as for the other arguments.
        query_string: See :class:`Server`.
        headers: See :class:`Server`.
        subprotocols: See :class:`Server`.
        personality: See :class:`Server`.
        faults: See :class:`Server`.
        receive_queue: See :class:`Server`.
        send_queue: See :class:`Server`.
        answers_close: See :class:`Server`.
        timeout: Seconds that any wait for the application may take, on the clock of the test.
        scope: See :class:`Server`.

    Raises:
        HandshakeDenied: The application denied the handshake.
        ApplicationStuck: The application never accepted, or did not end after the connection.
        Exception: The exception of the application.
    """
    server = ClientServer(
        path=path,
        query_string=query_string,
        headers=headers,
        subprotocols=subprotocols,
        personality=personality,
        faults=faults,
        receive_queue=receive_queue,
        send_queue=send_queue,
        answers_close=answers_close,
        timeout=timeout,
        scope=scope,
    )
    client = server.client
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, app)  # noqa: ASYNC113 - nothing has to be ready
        try:
            if wait_for_accept:
                await client.handshake()
            yield client
            client.close()
            await client.until_finished()
        except Exception as raised:  # noqa: BLE001 - raised below, outside the group
            failure = raised
        tasks.cancel_scope.cancel()
    error = client.unraised_exception
    if error is not None and error is not failure:
        # The application's exception is usually the reason for the failure of the test, so both are
        # shown.
        error.__context__ = failure
        attach(server.transcript, error)
        raise error
    if failure is not None:
        attach(server.transcript, failure)
        raise failure
