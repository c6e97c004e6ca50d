"""Hypercorn's WebSockets: early data, pings, messages that are too large, the application's end."""

import zlib
from typing import Any

import anyio
import pytest

from tests.contract._bench import about
from tests.hypercorn._wire import wired
from tests.servers._clients import BINARY, CLOSE, PING, TEXT, frame, handshake
from wsnursery.hypercorn._protocol import EARLY_BYTES

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


class App:
    """Accepts after some seconds; receives when the test asks for it."""

    def __init__(self, *, accepts_after: float = 0, reads: bool = True) -> None:
        self.events: list[Any] = []
        self.may_read = anyio.Event()
        self.may_leave = anyio.Event()
        self.accepts_after = accepts_after
        if reads:
            self.may_read.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await anyio.sleep(self.accepts_after)
        await send({"type": "websocket.accept"})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, receive)
            await self.may_leave.wait()
            tasks.cancel_scope.cancel()

    async def _read(self, receive: Any) -> None:
        await self.may_read.wait()
        while True:
            event = await receive()
            self.events.append(event.get("text") or event.get("bytes") or event["type"])


async def test_early_data_waits_for_the_accept() -> None:
    app = App(accepts_after=5)
    async with wired(app) as wire:
        await wire.receive(handshake("/") + frame(TEXT, b"one") + frame(TEXT, b"two"))
        await wire.receive(frame(TEXT, b"three"))
        assert wire.statuses == []
        await anyio.sleep(6)
        await wire.receive(frame(TEXT, b"four"))
        await anyio.sleep(1)
        assert wire.statuses == [101]
        assert app.events == ["one", "two", "three", "four"]


async def test_what_came_before_the_end_is_delivered_before_the_end() -> None:
    app = App(accepts_after=5, reads=False)
    async with wired(app) as wire, anyio.create_task_group() as tasks:
        await wire.receive(handshake("/") + b"".join(frame(TEXT, b"x") for _ in range(30)))
        await anyio.sleep(6)
        tasks.start_soon(wire.end)
        await anyio.sleep(1)
        app.may_read.set()
        await anyio.sleep(1)
        assert app.events == ["x"] * 30 + ["websocket.disconnect"]


async def test_a_close_in_the_early_data_ends_it() -> None:
    app = App(accepts_after=5)
    async with wired(app) as wire:
        early = frame(TEXT, b"one") + frame(CLOSE, b"\x03\xe8")
        await wire.receive(handshake("/") + early)
        await wire.receive(frame(TEXT, b"late"))
        await anyio.sleep(6)
        assert app.events == ["one", "websocket.disconnect"]
        assert wire.is_closed


async def test_a_client_cannot_send_without_limit_before_the_accept() -> None:
    app = App(accepts_after=5)
    async with wired(app) as wire:
        await wire.receive(handshake("/"))
        began = anyio.current_time()
        large = frame(BINARY, b"x" * EARLY_BYTES)
        await wire.receive(large[:EARLY_BYTES])
        await wire.receive(large[EARLY_BYTES:])
        assert anyio.current_time() == about(began)
        await wire.receive(frame(TEXT, b"behind"))
        assert anyio.current_time() == about(began + 5)
        await anyio.sleep(1)
        assert app.events[-1] == "behind"


async def test_a_message_that_is_too_large_ends_the_connection() -> None:
    app = App()
    async with wired(app, websocket_max_message_size=10) as wire:
        await wire.receive(handshake("/"))
        await anyio.sleep(1)
        await wire.receive(frame(TEXT, b"x" * 11))
        await anyio.sleep(1)
        assert app.events == ["websocket.disconnect"]
        assert (1009).to_bytes(2, "big") in wire.written
        assert wire.is_closed


@pytest.mark.parametrize("wanted", [False, True])
async def test_compression_is_negotiated_where_it_is_wanted(wanted: bool) -> None:
    app = App()
    async with wired(app, websocket_compression=wanted, websocket_max_message_size=1000) as wire:
        await wire.receive(handshake("/", DEFLATE))
        await anyio.sleep(1)
        assert (b"permessage-deflate" in wire.written) is wanted
        if wanted:
            compressor = zlib.compressobj(wbits=-15)
            data = compressor.compress(b"y" * 900) + compressor.flush(zlib.Z_SYNC_FLUSH)
            await wire.receive(bytes([0xC2]) + frame(BINARY, data[:-4])[1:])
            await anyio.sleep(1)
            assert app.events == [b"y" * 900]


async def test_it_pings_until_the_end_and_no_longer() -> None:
    app = App()
    async with wired(app, websocket_ping_interval=10) as wire:
        await wire.receive(handshake("/"))
        await anyio.sleep(25)
        assert wire.written.count(bytes([0x80 | PING, 0])) == 3
        await wire.end()
        app.may_leave.set()
        began = anyio.current_time()
    # The group in which the pings are sent ended at once.
    assert anyio.current_time() == about(began)


async def test_an_application_that_takes_nothing_is_known() -> None:
    app = App(reads=False)
    async with wired(app) as wire, anyio.create_task_group() as tasks:
        await wire.receive(handshake("/"))
        await anyio.sleep(1)
        assert wire.protocol.waits_for_application() is None
        tasks.start_soon(wire.receive, b"".join(frame(TEXT, b"x") for _ in range(30)))
        await anyio.sleep(1)
        assert wire.protocol.waits_for_application() == 10
        app.may_read.set()
        await anyio.sleep(1)
        assert wire.protocol.waits_for_application() is None
        assert app.events == ["x"] * 30


async def test_nothing_waits_for_an_application_that_has_left() -> None:
    app = App(reads=False)
    async with wired(app) as wire, anyio.create_task_group() as tasks:
        await wire.receive(handshake("/"))
        await anyio.sleep(1)
        tasks.start_soon(wire.receive, b"".join(frame(TEXT, b"x") for _ in range(30)))
        await anyio.sleep(1)
        app.may_leave.set()
        await anyio.sleep(1)
        assert wire.protocol.waits_for_application() is None
        # Both the group of the reader and that of the application have ended.


async def test_a_request_that_is_no_websocket_is_not_counted() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep_forever()

    async with wired(app) as wire:
        await wire.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.protocol.waits_for_application() is None


async def test_a_handshake_that_is_refused_has_no_application() -> None:
    async with wired(App()) as wire:
        await wire.receive(handshake("/").replace(b"Version: 13", b"Version: 12"))
        assert wire.statuses == [400]


async def test_the_connection_below_is_known_as_hypercorns_own_is() -> None:
    sends: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sends.append(send)

    async with wired(app) as wire:
        await wire.receive(handshake("/"))
        await anyio.sleep(1)
        stream = sends[0].__self__
        assert type(stream).__module__ == "hypercorn.protocol.ws_stream"
        assert type(stream.send.__self__).__module__ == "hypercorn.protocol.h11"
        await wire.receive(b"")
    async with wired(app) as wire:
        await wire.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        assert type(wire.protocol.protocol).__module__ == "hypercorn.protocol.h2"
        await wire.end()


async def test_http2_has_several_streams() -> None:
    async with wired(App()) as wire:
        await wire.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        assert wire.protocol.waits_for_application() is None
        await wire.end()
