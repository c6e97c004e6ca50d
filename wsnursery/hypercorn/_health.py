"""Health checks over HTTP: is the process alive, and should it get connections?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wsnursery._types import Receive, Scope, Send

from ._drain import DRAINING, ASGIApp
from ._logs import logger


class Health:
    """An ASGI application around yours that answers probes.

    ::

        app = Health(app, checks=[lambda: database.is_connected])

    ``GET /healthz`` is answered with 200 while the event loop runs: use it for a liveness probe.
    ``GET /readyz`` is answered with 200 if the process should get connections, and otherwise with
    503: while `serve` drains, while `ready` is `False`, and while a check fails. The body gives the
    reason. All other requests go to your application.

    Args:
        app: The application.
        checks: Functions without arguments. Each returns whether a resource is available that the
            process needs, such as the engine of shared rooms. They must not wait. A check that
            raises has failed.
        live: The path of the liveness probe.
        readiness: The path of the readiness probe.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        checks: Iterable[Callable[[], object]] = (),
        live: str = "/healthz",
        readiness: str = "/readyz",
    ) -> None:
        self._app = app
        self._checks = tuple(checks)
        self._live = live
        self._readiness = readiness
        self.ready: bool = True
        """Set it to `False` to get no new connections, for instance before maintenance."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        path = scope.get("path") if scope["type"] == "http" else None
        if path == self._live:
            await _answer(send, 200, "ok")
        elif path == self._readiness:
            reason = self._why_not_ready(scope)
            await _answer(send, *((200, "ok") if reason is None else (503, reason)))
        else:
            await self._app(scope, receive, send)

    def _why_not_ready(self, scope: Scope) -> str | None:
        extensions: Mapping[str, Any] = scope.get("extensions") or {}
        if extensions.get(DRAINING):
            return "this process is being stopped"
        if not self.ready:
            return "this process is switched off"
        for check in self._checks:
            try:
                if check():
                    continue
            except Exception:  # noqa: BLE001 - a check that raises has failed
                logger.warning("a readiness check failed", exc_info=True)
            return "this process lacks something that it needs"
        return None


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
