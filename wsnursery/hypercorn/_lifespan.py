"""The lifespan of an application: it may leave early, it may fail, and it is ended in time."""

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
    """An application around another one, which sees to its lifespan.

    - It may return as early as it likes. The ASGI specification wants an exception of an
      application that does not support the lifespan, and says nothing of a return. Hypercorn's trio
      worker fails after one.
    - When it raises after it has asked for the startup, it has failed, and the server stops with
      that exception. Hypercorn goes on without it. When it raises before, it does not support the
      lifespan, as the specification has it.
    - It can be shut down while the server still waits for handlers.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure: Exception | None = None
        """What the application raised in its startup."""
        self.has_failed = False
        """Its startup has failed: the application raised, or said so."""
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
        """Tell the application to shut down although the server has not, and wait for it so long.

        *Checkpoint*: yes, if there is a lifespan.
        """
        self._forced.set()
        if self._runs:
            with anyio.move_on_after(seconds):
                await self._ended.wait()


class _Phases:
    """The server's side of a lifespan, which remembers how far it has come."""

    def __init__(self, receive: Receive, send: Send, forced: anyio.Event) -> None:
        self._receive = receive
        self._send = send
        self._forced = forced
        self._phase = ""
        self._answered = True

    @property
    def is_starting(self) -> bool:
        """Whether the application has been told to start and has not said yet that it did."""
        return self._phase == "lifespan.startup" and not self._answered

    @property
    def has_started(self) -> bool:
        """Whether the application has been told to start, and has answered."""
        return self._phase != "" and not self.is_starting

    async def receive(self) -> Mapping[str, Any]:
        """The next event of the server; the shutdown also when it is forced."""
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
        """Take an answer of the application."""
        self._answered = True
        await self._send(event)

    async def finish(self) -> None:
        """Acknowledge what the application has left unanswered, up to the shutdown."""
        while True:
            if not self._answered:
                await self.send({"type": f"{self._phase}.complete"})
            if self._phase == "lifespan.shutdown":
                return
            await self.receive()
