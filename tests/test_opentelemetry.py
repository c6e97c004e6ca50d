"""`wsnursery.opentelemetry`: what arrives at an SDK."""

import runpy
import sys
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import wsnursery.opentelemetry as ours
from tests.timeline import _events as ev
from wsnursery import Options, WebSocket, WebSocketDisconnected, hooks, testing, websocket_app
from wsnursery.opentelemetry import OpenTelemetryHook


class Sdk:
    """A hook, and everything that it has exported."""

    def __init__(self, *, messages: bool = True) -> None:
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.hook = OpenTelemetryHook(self.tracers, self._meters, messages=messages)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """The spans that have ended, by their names."""
        return {span.name: span for span in self._spans.get_finished_spans()}

    def metrics(self) -> dict[str, Any]:
        """The unit and the values by attributes (a histogram's: count and sum), by name."""
        found: dict[str, Any] = {}
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = {
                        tuple(sorted((point.attributes or {}).items())): _value(point)
                        for point in metric.data.data_points
                    }
                    found[metric.name] = metric.unit, points
        return found

    def serve(self, handler: Any) -> Any:
        """The handler as an application that is observed."""
        return websocket_app(options=Options(hooks=[self.hook]))(handler)


def _value(point: Any) -> Any:
    return point.value if hasattr(point, "value") else (point.count, point.sum)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def events(span: ReadableSpan) -> list[tuple[str, Mapping[str, Any]]]:
    return [(event.name, dict(event.attributes or {})) for event in span.events]


async def echo(ws: WebSocket) -> None:
    await ws.accept("chat")
    async for message in ws:
        await ws.send(message)


async def test_a_conversation() -> None:
    sdk = Sdk()
    async with testing.connect(
        sdk.serve(echo), path="/a", query_string=b"token=secret", subprotocols=["chat"]
    ) as client:
        await client.send("hello")
        await client.receive()
        assert sdk.metrics()["wsnursery.active_connections"] == (
            "{connection}",
            {(("url.scheme", "ws"),): 1},
        )
        await anyio.sleep(2)
        client.close(4000, "bye\n")
    (span,) = sdk.spans.values()
    assert (span.name, span.kind) == ("GET", trace.SpanKind.SERVER)
    assert span.parent is None
    assert span.status.status_code is trace.StatusCode.UNSET
    found = attributes(span)
    assert len(found.pop("wsnursery.connection.id")) == 36
    assert found == {
        "http.request.method": "GET",
        "http.response.status_code": 101,
        "url.path": "/a",
        "url.scheme": "ws",
        "network.protocol.name": "websocket",
        "client.address": "192.0.2.1",
        "server.address": "test",
        "server.port": 80,
        "wsnursery.subprotocol": "chat",
        "wsnursery.close.code": 4000,
        "wsnursery.close.reason": r"bye\n",
        "wsnursery.ending": "returned",
    }
    assert events(span) == [("wsnursery.disconnected", {"wsnursery.broken": False})]
    receive = (("network.io.direction", "receive"),)
    transmit = (("network.io.direction", "transmit"),)
    metrics = sdk.metrics()
    unit, durations = metrics.pop("wsnursery.connection.duration")
    assert unit == "s"
    ((labels, (count, seconds)),) = durations.items()
    assert labels == (("url.scheme", "ws"), ("wsnursery.ending", "returned"))
    assert (count, round(seconds)) == (1, 2)
    assert metrics == {
        "wsnursery.active_connections": ("{connection}", {(("url.scheme", "ws"),): 0}),
        "wsnursery.messages": ("{message}", {receive: 1, transmit: 1}),
        "wsnursery.io": ("By", {receive: 5, transmit: 5}),
    }


async def test_an_application_that_fails() -> None:
    sdk = Sdk()

    async def fail(ws: WebSocket) -> None:
        await ws.accept()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        async with testing.connect(sdk.serve(fail)) as client:
            await client.app_finished()
    (span,) = sdk.spans.values()
    assert (span.status.status_code, span.status.description) == (
        trace.StatusCode.ERROR,
        "ValueError",
    )
    assert attributes(span)["error.type"] == "ValueError"
    assert attributes(span)["wsnursery.ending"] == "failed"
    name, recorded = events(span)[-1]
    assert name == "exception"
    assert recorded["exception.message"] == "no"
    (labels,) = sdk.metrics()["wsnursery.connection.duration"][1]
    assert dict(labels)["error.type"] == "ValueError"


async def test_a_client_that_vanishes_is_no_error_of_ours() -> None:
    sdk = Sdk()

    async def push(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("hello")

    fault = testing.FailSend(2, BrokenPipeError("gone"))
    async with testing.connect(sdk.serve(push), faults=[fault]) as client:
        await client.app_finished()
    (span,) = sdk.spans.values()
    assert span.status.status_code is trace.StatusCode.UNSET
    assert attributes(span)["wsnursery.ending"] == "disconnected"
    assert attributes(span)["error.type"] == "BrokenPipeError"
    assert "wsnursery.close.code" not in attributes(span)
    assert events(span) == [
        ("wsnursery.send_failed", {"error.type": "BrokenPipeError"}),
        ("wsnursery.disconnected", {"wsnursery.broken": True}),
    ]


async def test_being_cancelled_is_no_error() -> None:
    sdk = Sdk()
    async with testing.connect(sdk.serve(echo), subprotocols=["chat"]) as client:
        client.cancel_app()
        await client.until_finished()
    (span,) = sdk.spans.values()
    assert attributes(span)["wsnursery.ending"] == "cancelled"
    assert "error.type" not in attributes(span)
    assert ("wsnursery.cancelled", {"wsnursery.reason": "outside"}) in events(span)


async def test_spans_of_the_handler_and_of_its_children_are_inside() -> None:
    sdk = Sdk()
    tracer = trace.get_tracer("a test", tracer_provider=sdk.tracers)

    async def child() -> None:
        with tracer.start_as_current_span("child"):
            await anyio.sleep(1)

    async def handler(ws: WebSocket) -> None:
        with tracer.start_as_current_span("before"):
            await ws.accept()
        ws.start_soon(child)

    def parent_of(name: str) -> int | None:
        parent = sdk.spans[name].parent
        return None if parent is None else parent.span_id

    async with testing.connect(sdk.serve(handler)) as client:
        await client.app_finished()
        assert not trace.get_current_span().get_span_context().is_valid
    connection = sdk.spans["GET"].get_span_context()
    assert connection is not None
    assert parent_of("before") == parent_of("child") == connection.span_id
    assert parent_of("GET") is None


async def test_what_was_current_is_current_again() -> None:
    sdk = Sdk()
    tracer = trace.get_tracer("a test", tracer_provider=sdk.tracers)
    inner = sdk.serve(echo)

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        with tracer.start_as_current_span("middleware") as span:
            await inner(scope, receive, send)
            assert trace.get_current_span() is span

    header = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    async with testing.connect(middleware, headers=[header], subprotocols=["chat"]) as client:
        client.close()
        await client.app_finished()
    parent, outer = sdk.spans["GET"].parent, sdk.spans["middleware"].get_span_context()
    assert parent is not None
    assert outer is not None
    assert parent.span_id == outer.span_id


async def test_the_trace_of_the_client_goes_on() -> None:
    sdk = Sdk()
    header = (b"Traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    async with testing.connect(sdk.serve(echo), headers=[header], subprotocols=["chat"]):
        pass
    (span,) = sdk.spans.values()
    assert span.parent is not None
    assert f"{span.parent.trace_id:x}" == "af7651916cd43dd8448eb211c80319c"
    assert f"{span.parent.span_id:x}" == "b7ad6b7169203331"


class Route:
    """As FastAPI puts it into the scope."""

    path = "/rooms/{name}"


EVIL = "/a\r\n\ud800" + "x" * 300


def test_what_is_in_the_scope() -> None:
    sdk = Sdk()
    scope = {"path": EVIL, "http_version": "2", "scheme": "wss", "route": Route()}
    sdk.hook(hooks.Opened(ev.ID, 0, scope))
    sdk.hook(ev.accepted(0))
    sdk.hook(ev.closed(1))
    (span,) = sdk.spans.values()
    assert span.name == "CONNECT /rooms/{name}"
    found = attributes(span)
    assert (found["http.request.method"], found["http.response.status_code"]) == ("CONNECT", 200)
    assert found["http.route"] == "/rooms/{name}"
    assert found["url.scheme"] == "wss"
    assert found["url.path"].startswith(r"/a\r\n\ud800xxx")
    assert len(found["url.path"]) < 250
    assert "client.address" not in found


def test_a_full_buffer_is_one_event() -> None:
    sdk = Sdk()
    sdk.hook(ev.opened())
    for _ in range(3):
        sdk.hook(ev.full(1))
        sdk.hook(ev.full(1, "receive"))
        sdk.hook(ev.dropped(1, 1))
    sdk.hook(ev.closed(2))
    (span,) = sdk.spans.values()
    assert events(span) == [
        ("wsnursery.buffer_full", {"wsnursery.buffer": "send"}),
        ("wsnursery.buffer_full", {"wsnursery.buffer": "receive"}),
    ]


def test_an_exception_of_a_library_has_its_module() -> None:
    sdk = Sdk()
    outcome = WebSocketDisconnected()
    sdk.hook(ev.opened())
    sdk.hook(ev.closed(1, outcome))
    outcome.__cause__ = anyio.BrokenResourceError()
    sdk.hook(ev.opened())
    sdk.hook(ev.closed(1, outcome))
    first, second = sdk._spans.get_finished_spans()
    assert "error.type" not in attributes(first)
    assert attributes(second)["error.type"] == "anyio.BrokenResourceError"


def test_nothing_is_kept_of_a_connection_that_is_closed() -> None:
    sdk = Sdk()
    sdk.hook(ev.opened())
    sdk.hook(ev.closed(1))
    assert sdk.hook._open == {}


def test_messages_need_not_be_counted() -> None:
    sdk = Sdk(messages=False)
    assert not sdk.hook.messages
    sdk.hook(ev.opened())
    sdk.hook(ev.closed(1))
    assert set(sdk.metrics()) == {"wsnursery.active_connections", "wsnursery.connection.duration"}


async def test_without_an_sdk_nothing_happens() -> None:
    app = websocket_app(options=Options(hooks=[OpenTelemetryHook()]))(echo)
    async with testing.connect(app, subprotocols=["chat"]) as client:
        await client.send("hello")
        assert await client.receive() == "hello"


def test_without_the_api_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r"pip install 'wsnursery\[opentelemetry\]'$"):
        runpy.run_path(ours.__file__)
