"""Falcon's."""

from falcon import WebSocketDisconnected
from falcon.asgi import App, Request, WebSocket

from . import parse_push


class _Echo:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except WebSocketDisconnected:
            pass


class _Push:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                count, payload = parse_push(await ws.receive_text())
                for _ in range(count):
                    await ws.send_text(payload)
        except WebSocketDisconnected:
            pass


class _Receive:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                if await ws.receive_text() == "end":
                    await ws.send_text("end")
        except WebSocketDisconnected:
            pass


app = App()
app.add_route("/echo", _Echo())
app.add_route("/push", _Push())
app.add_route("/receive", _Receive())
