"""FastAPI's."""

from fastapi import FastAPI, WebSocket

from . import parse_push

app = FastAPI()


@app.websocket("/echo")
async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


@app.websocket("/push")
async def _push(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        count, payload = parse_push(message)
        for _ in range(count):
            await websocket.send_text(payload)


@app.websocket("/receive")
async def _receive(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        if message == "end":
            await websocket.send_text("end")
