"""An application to deploy: a WebSocket, and two paths for health checks.

Run it with ``python -m wsnursery serve -c hypercorn.toml app:app`` in this directory.
"""

from wsnursery import Options, WebSocket, websocket_app
from wsnursery.hooks import LoggingHook
from wsnursery.hypercorn import Health

OPTIONS = Options(
    max_message_size=64 * 1024,
    allowed_origins=None,  # if you use cookies, list your origins: ["https://example.org"]
    hooks=[LoggingHook()],  # logs a line when a connection opens, and one when it has closed
)


@websocket_app(options=OPTIONS)
async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


app = Health(echo)
"""Answers /healthz while the process runs, and /readyz while it should get connections. Pass
``checks`` if the application depends on something else, such as the engine of shared rooms."""
