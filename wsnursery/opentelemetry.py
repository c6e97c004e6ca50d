"""Traces and metrics of connections: `OpenTelemetryHook`.

It needs the extra ``wsnursery[opentelemetry]``, which installs only the API of OpenTelemetry. To
record anything, install an SDK too.
"""

from __future__ import annotations

try:
    from opentelemetry import context, metrics, propagate, trace
except ImportError as _missing:
    raise ImportError(
        "wsnursery.opentelemetry needs OpenTelemetry's API: pip install 'wsnursery[opentelemetry]'"
    ) from _missing

from collections.abc import Iterable
from contextvars import Token
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from . import hooks
from ._errors import escaped
from ._types import Scope

__all__ = ["OpenTelemetryHook"]

_DURATIONS = (0.1, 1, 10, 60, 300, 900, 3600, 14_400, 43_200, 86_400)
"""Seconds. The default buckets are for requests, but WebSockets last longer."""


@dataclass(slots=True)
class _OpenSpan:
    """The span of one open connection."""

    span: trace.Span
    token: Token[context.Context]
    begin: float
    scheme: dict[str, str]
    accepted: int
    """The HTTP status of the accepted handshake."""
    full: set[str] = field(default_factory=set[str])
    """The buffers that have been full, because one event per buffer is enough."""


class OpenTelemetryHook:
    """A hook that creates a span for every connection, and metrics. Create one per process.

    The span begins when the block is entered and ends when it is left. It is a server span, and
    follows the conventions for HTTP (``http.request.method``, ``url.path``, ``url.scheme``,
    ``http.route`` with FastAPI, ``client.address``, ``server.address``, ``server.port``,
    ``http.response.status_code`` once accepted). Its parent is the current span, if a middleware
    has created one, or the ``traceparent`` of the handshake. Inside the block it is the current
    span.

    There are no conventions for WebSockets, so the other attributes have their own names:

    ==============================  ===============================================================
    ``wsnursery.connection.id``     `WebSocket.id`
    ``wsnursery.subprotocol``       the accepted subprotocol, if there is one
    ``wsnursery.close.code``        and ``wsnursery.close.reason``, where they are known
    ``wsnursery.ending``            how the block was left: one of `hooks.Ending`
    ``error.type``                  what the block raised; for a `WebSocketDisconnected` its cause
    ==============================  ===============================================================

    Its events are ``wsnursery.send_failed``, ``wsnursery.disconnected``, ``wsnursery.cancelled``
    and, once for each buffer, ``wsnursery.buffer_full``. An exception of the application is
    recorded on the span and sets its status to an error. A client that vanished does not.

    The metrics:

    =========================================  ============  ======================================
    ``wsnursery.active_connections``           {connection}  by ``url.scheme``
    ``wsnursery.connection.duration``          s             by ``url.scheme``,
                                                             ``wsnursery.ending``, ``error.type``
    ``wsnursery.messages``                     {message}     by ``network.io.direction``
    ``wsnursery.io``                           By            by ``network.io.direction``
    =========================================  ============  ======================================

    Their names do not begin with ``http.server``, because connections that last hours would distort
    the durations of requests. Query strings and messages are not recorded. Text from the peer is
    escaped and cut at 200 characters, and is never an attribute of a metric.

    Args:
        tracer_provider: The provider for spans; `None` means the global one.
        meter_provider: The provider for metrics; `None` means the global one.
        messages: Whether to count messages. If not, a message costs as much as without hooks.
    """

    messages: bool
    """Whether it receives events about messages, see `hooks.Hook`."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        messages: bool = True,
    ) -> None:
        self.messages = messages
        self._open: dict[UUID, _OpenSpan] = {}
        self._messages = {"receive": 0, "transmit": 0}
        self._bytes = {"receive": 0, "transmit": 0}
        self._tracer = trace.get_tracer("wsnursery", tracer_provider=tracer_provider)
        meter = metrics.get_meter("wsnursery", meter_provider=meter_provider)
        self._active = meter.create_up_down_counter(
            "wsnursery.active_connections", "{connection}", "WebSockets whose block is entered."
        )
        self._duration = meter.create_histogram(
            "wsnursery.connection.duration",
            "s",
            "How long blocks of WebSockets lasted.",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        )
        if messages:
            # Observable counters are read at export, so that counting a message is one addition.
            meter.create_observable_counter(
                "wsnursery.messages",
                [lambda _options: _observed(self._messages)],
                "{message}",
                "Messages received, and taken by the server.",
            )
            meter.create_observable_counter(
                "wsnursery.io",
                [lambda _options: _observed(self._bytes)],
                "By",
                "The payload of these messages.",
            )

    def __call__(self, event: hooks.Event, /) -> None:
        """Handle one event. Not a checkpoint."""
        match event:
            case hooks.MessageReceived():
                self._messages["receive"] += 1
                self._bytes["receive"] += event.size
            case hooks.MessageSent():
                self._messages["transmit"] += 1
                self._bytes["transmit"] += event.size
            case hooks.Opened():
                self._begin(event)
            case hooks.Closed():
                self._end(event)
            case _:
                _annotate(self._open[event.connection], event)

    def _begin(self, event: hooks.Opened) -> None:
        scope = event.scope
        scheme = {"url.scheme": escaped(scope.get("scheme", "ws"))}
        attributes = {**_handshake(scope), **scheme}
        attributes["wsnursery.connection.id"] = str(event.connection)
        method, route = attributes["http.request.method"], attributes.get("http.route")
        parent = _parent(scope)
        span = self._tracer.start_span(
            f"{method} {route}" if route else method,
            parent,
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
        )
        # The same task enters and leaves the block, so `_end` can detach what is attached here.
        token = context.attach(trace.set_span_in_context(span, parent))
        status = 200 if method == "CONNECT" else 101
        self._open[event.connection] = _OpenSpan(span, token, event.time, scheme, status)
        self._active.add(1, scheme)

    def _end(self, event: hooks.Closed) -> None:
        connection = self._open.pop(event.connection)
        span = connection.span
        said: dict[str, str | int] = {"wsnursery.ending": event.ending}
        error = _error_of(event)
        if error is not None:
            said["error.type"] = _type_of(error)
        self._active.add(-1, connection.scheme)
        self._duration.record(event.time - connection.begin, {**connection.scheme, **said})
        if event.code is not None:
            said["wsnursery.close.code"] = int(event.code)
            said["wsnursery.close.reason"] = escaped(event.reason)
        span.set_attributes(said)
        if event.ending == "failed" and event.outcome is not None:
            span.record_exception(event.outcome)
            span.set_status(trace.StatusCode.ERROR, _type_of(event.outcome))
        context.detach(connection.token)
        span.end()


def _observed(counters: dict[str, int]) -> Iterable[metrics.Observation]:
    for direction, count in counters.items():
        yield metrics.Observation(count, {"network.io.direction": direction})


def _parent(scope: Scope) -> context.Context | None:
    """Return `None` if the current context has a span, otherwise the context of the client."""
    if trace.get_current_span().get_span_context().is_valid:
        return None
    headers: dict[str, list[str]] = {}
    for name, value in scope.get("headers", ()):
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return propagate.extract(headers)


def _handshake(scope: Scope) -> dict[str, Any]:
    """Return the attributes of the HTTP conventions that the server provides."""
    client, server = scope.get("client"), scope.get("server")
    found = {
        # RFC 8441: over HTTP/2 a WebSocket is opened by CONNECT.
        "http.request.method": "CONNECT" if scope.get("http_version") == "2" else "GET",
        "http.route": getattr(scope.get("route"), "path", None),
        "url.path": escaped(scope.get("path", "")),
        "network.protocol.name": "websocket",
        "client.address": client and escaped(str(client[0])),
        "server.address": server and escaped(str(server[0])),
        "server.port": server and server[1],
    }
    return {name: value for name, value in found.items() if value is not None}


def _annotate(connection: _OpenSpan, event: hooks.Event) -> None:
    """Record an event on the open span."""
    span = connection.span
    match event:
        case hooks.Accepted():
            span.set_attribute("http.response.status_code", connection.accepted)
            if event.subprotocol:
                span.set_attribute("wsnursery.subprotocol", escaped(event.subprotocol))
        case hooks.BufferFull() if event.buffer not in connection.full:
            connection.full.add(event.buffer)
            span.add_event("wsnursery.buffer_full", {"wsnursery.buffer": event.buffer})
        case hooks.SendFailed():
            span.add_event("wsnursery.send_failed", {"error.type": _type_of(event.error)})
        case hooks.Disconnected():
            span.add_event("wsnursery.disconnected", {"wsnursery.broken": event.broken})
        case hooks.Cancelled():
            span.add_event("wsnursery.cancelled", {"wsnursery.reason": event.reason})
        case _:
            pass


def _error_of(event: hooks.Closed) -> BaseException | None:
    """Return the error of the block or the cause of the disconnect. A cancellation is no error."""
    if event.outcome is None or event.ending == "cancelled":
        return None
    if event.ending == "disconnected":
        return event.outcome.__cause__
    return event.outcome


def _type_of(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"
