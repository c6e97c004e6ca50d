"""The lifespan of an application, which may return early, fail, or be shut down in time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio

from wsnursery._types import Receive, Scope, Send

from ._backends import wrong_backend
from ._config import DeploymentError
from ._drain import ASGIApp
from ._logs import logger


class GuardedLifespan:
    """An application around another one, which controls its lifespan.

    - The application may return early. According to the ASGI specification, an application that
      does not support the lifespan raises. The specification does not mention a return, after which
      Hypercorn's trio worker fails.
    - If the application raises after it has received the startup, the startup has failed, and the
      server stops with that exception. Hypercorn alone continues without the application. If it
      raises before that, it does not support the lifespan, as the specification says.
    - It can be shut down while the server still waits for handlers.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure: Exception | None = None
        """The exception that the application raised in its startup."""
        self.has_failed = False
        """Whether its startup has failed: the application raised, or reported the failure."""
        self._runs = False
        self._said_backend = False
        self._forced = anyio.Event()
        self._ended = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "lifespan":
            try:
                await self._app(scope, receive, send)
            except Exception as exc:
                self._look_for_wrong_backend(exc)
                raise
            return
        phases = _Phases(receive, partial(self._relay, send), self._forced)
        self._runs = True
        try:
            await self._app(scope, phases.receive, phases.send)
        except Exception as exc:
            sentence = wrong_backend(exc)
            # According to the ASGI specification, an exception before the startup means that the
            # application does not support the lifespan. But an application for the wrong backend
            # can never serve.
            if not phases.is_starting and (phases.has_started or sentence is None):
                raise
            self.failure = exc if sentence is None else DeploymentError(sentence)
            if not phases.is_starting:
                await phases.receive()  # Hypercorn's trio worker fails if no task takes the event
            await phases.send({"type": "lifespan.startup.failed", "message": repr(exc)})
        else:
            await phases.finish()
        finally:
            self._ended.set()

    async def _relay(self, send: Send, event: Any) -> None:
        self.has_failed = self.has_failed or event["type"] == "lifespan.startup.failed"
        await send(event)

    def _look_for_wrong_backend(self, exc: Exception) -> None:
        sentence = wrong_backend(exc)
        if sentence is not None and not self._said_backend:
            self._said_backend = True
            logger.error("%s", sentence)

    async def shut_down(self, seconds: float) -> None:
        """Shut the lifespan down before the server does, and wait for it for a limited time.

        *Checkpoint*: yes, if there is a lifespan.
        """
        # Hypercorn sends the shutdown only after the last handler has ended, which may never
        # happen.
        self._forced.set()
        if self._runs:
            with anyio.move_on_after(seconds):
                await self._ended.wait()


class _Phases:
    """The server's side of a lifespan, which remembers its phase."""

    def __init__(self, receive: Receive, send: Send, forced: anyio.Event) -> None:
        self._receive = receive
        self._send = send
        self._forced = forced
        self._phase = ""
        self._answered = True

    @property
    def is_starting(self) -> bool:
        """Whether the application has received the startup and has not answered it yet."""
        return self._phase == "lifespan.startup" and not self._answered

    @property
    def has_started(self) -> bool:
        """Whether the application has received the startup and has answered it."""
        return self._phase != "" and not self.is_starting

    async def receive(self) -> Mapping[str, Any]:
        """Return the next event of the server, or the shutdown if it is forced."""
        event: Mapping[str, Any] = {"type": "lifespan.shutdown"}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_when_forced, tasks.cancel_scope)
            event = await self._receive()
            tasks.cancel_scope.cancel()
        self._phase, self._answered = event["type"], False
        return event

    async def _cancel_when_forced(self, scope: anyio.CancelScope) -> None:
        await self._forced.wait()
        scope.cancel()

    async def send(self, event: Any) -> None:
        """Pass an answer of the application on to the server."""
        self._answered = True
        await self._send(event)

    async def finish(self) -> None:
        """Answer, until the shutdown, the events that the application has not answered."""
        while True:
            if not self._answered:
                await self.send({"type": f"{self._phase}.complete"})
            if self._phase == "lifespan.shutdown":
                return
            await self.receive()
