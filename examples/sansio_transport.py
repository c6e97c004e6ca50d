"""A transport of your own: WebSockets over any byte stream, with the sans-I/O core of `websockets`.

It runs on trio and on asyncio. The page ``docs/transports.md`` explains it. Run it with
``python -m examples.sansio_transport``: it serves an echo on port 8765.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from anyio.abc import AnyByteStream, ByteStream
from websockets.exceptions import ConnectionClosed, InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from wsnursery import Options, WebSocket, WebSocketDisconnected
from wsnursery.transports import (
    Accept,
    Connect,
    Disconnect,
    Incoming,
    Outgoing,
    Reject,
    Scope,
    make_websocket,
)

logger = logging.getLogger(__name__)

Handler = Callable[[WebSocket], Awaitable[object]]


class SansIOTransport:
    """One connection of a server."""

    drains = False  # `receive` need not be called after the end
    receive_blocks_close = False  # a close can be sent while `receive` waits
    round_trip_time: float | None = None  # it sends no pings

    def __init__(self, stream: AnyByteStream, protocol: ServerProtocol, request: Request) -> None:
        self._stream = stream
        self._protocol = protocol
        self._request = request
        self._connected = False
        self._parts: list[Frame] = []
        self._writing = anyio.Lock()
        self._events: deque[Incoming] = deque([Connect()])
        self.scope: Scope = {
            "type": "websocket",
            "path": request.path,
            "headers": [(k.lower().encode(), v.encode()) for k, v in request.headers.raw_items()],
            "subprotocols": [
                name.strip()
                for value in request.headers.get_all("Sec-WebSocket-Protocol")
                for name in value.split(",")
            ],
        }

    async def receive(self) -> Incoming:
        while not self._events:
            try:
                self._protocol.receive_data(await self._stream.receive())
            except anyio.EndOfStream:
                self._protocol.receive_eof()
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    self._take(event)
            await self._write()  # pongs, and the answer to a close
            if self._protocol.close_expected() or self._protocol.state is State.CLOSED:
                self._events.append(self._end())
        return self._events.popleft()

    def _end(self) -> Disconnect:
        # If the peer sent no close frame, use ours: the peer has then broken the protocol.
        close = self._protocol.close_rcvd or self._protocol.close_sent
        return Disconnect(1006) if close is None else Disconnect(close.code, close.reason)

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._parts.append(frame)
            if frame.fin:
                data = b"".join(bytes(part.data) for part in self._parts)
                is_text = self._parts[0].opcode is Opcode.TEXT
                self._events.append(data.decode() if is_text else data)
                self._parts.clear()

    async def send(self, event: Outgoing) -> None:
        if isinstance(event, str):
            self._protocol.send_text(event.encode())
        elif isinstance(event, bytes):
            self._protocol.send_binary(event)
        elif isinstance(event, Accept):
            self._protocol.send_response(self._answer(event))
        elif isinstance(event, Reject):
            self._protocol.send_response(self._denial(event))
        elif self._protocol.state is State.CONNECTING:
            self._protocol.send_response(self._protocol.reject(403, ""))
        else:
            self._protocol.send_close(event.code, event.reason)
        await self._write()

    def _answer(self, accept: Accept) -> Response:
        response = self._protocol.accept(self._request)
        if accept.subprotocol is not None:
            response.headers["Sec-WebSocket-Protocol"] = accept.subprotocol
        for name, value in accept.headers:
            response.headers[name.decode()] = value.decode()
        return response

    def _denial(self, reject: Reject) -> Response:
        response = self._protocol.reject(reject.status, "")
        del response.headers["Content-Length"], response.headers["Content-Type"]
        response.headers["Content-Length"] = str(len(reject.body))
        for name, value in reject.headers:
            response.headers[name.decode()] = value.decode()
        response.body = reject.body
        return response

    async def _write(self) -> None:
        async with self._writing:
            for data in self._protocol.data_to_send():
                if data:
                    await self._stream.send(data)

    def says_gone(self, exc: Exception) -> bool:
        return isinstance(exc, anyio.BrokenResourceError | ConnectionClosed | InvalidState)

    def abort(self) -> bool:
        return False  # every call can be cancelled


def websocket_over(
    stream: AnyByteStream, protocol: ServerProtocol, request: Request, options: Options
) -> WebSocket:
    """Return the WebSocket that a client asks for. Enter it as a block."""
    return make_websocket(SansIOTransport(stream, protocol, request), options)


async def shake_hands(stream: AnyByteStream, protocol: ServerProtocol) -> Request | None:
    """Wait for the client's handshake; `None` if it sends something else or leaves."""
    while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
        try:
            protocol.receive_data(await stream.receive())
        except anyio.EndOfStream:
            return None
        for event in protocol.events_received():
            if isinstance(event, Request):
                return event
    return None


async def serve_stream(handler: Handler, stream: ByteStream, options: Options = Options()) -> None:
    """Serve one connection."""
    protocol = ServerProtocol(max_size=options.max_message_size)
    async with stream:
        request = await shake_hands(stream, protocol)
        if request is not None:
            try:
                async with websocket_over(stream, protocol, request, options) as ws:
                    await handler(ws)
            except WebSocketDisconnected as exc:
                logger.debug("%s", exc)


async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


async def main() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=8765)
    print("Serving an echo on ws://127.0.0.1:8765/, Ctrl-C stops it", flush=True)
    await listener.serve(partial(serve_stream, echo))


if __name__ == "__main__":
    anyio.run(main)
