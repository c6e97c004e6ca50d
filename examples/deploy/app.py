"""A WebSocket with two paths for probes, to be deployed.

Run it with ``python -m wsnursery serve -c hypercorn.toml app:app`` in this directory.
"""

from wsnursery import Options, WebSocket, websocket_app
from wsnursery.hooks import LoggingHook
from wsnursery.hypercorn import Health

OPTIONS = Options(
    max_message_size=64 * 1024,
    allowed_origins=None,  # name yours, if you use cookies: ["https://example.org"]
    hooks=[LoggingHook()],  # a line when a connection opens and one when it has closed
)


@websocket_app(options=OPTIONS)
async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


app = Health(echo)
"""It answers /healthz as long as it runs, and /readyz while it should get connections. Give it
``checks`` if it needs something else, such as the engine of shared rooms."""
