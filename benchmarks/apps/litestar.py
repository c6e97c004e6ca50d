"""Litestar's."""

from typing import Any

from litestar import Litestar, WebSocket, websocket

from . import parse_push


@websocket("/echo")
async def _echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    async for message in socket.iter_data("text"):
        await socket.send_text(message)


@websocket("/push")
async def _push(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    async for message in socket.iter_data("text"):
        count, payload = parse_push(message)
        for _ in range(count):
            await socket.send_text(payload)


@websocket("/receive")
async def _receive(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    async for message in socket.iter_data("text"):
        if message == "end":
            await socket.send_text("end")


app = Litestar([_echo, _push, _receive])
