"""Start an example under Hypercorn's trio worker and say what to do next."""

import signal
import socket
import sys
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]

from wsnursery.app import WebSocketApp

HOST = "127.0.0.1"
PORT = 8000

NEXT_STEPS = """\
Serving {name} on http://{host}:{port}/. What to do next:

  in a browser     open http://{host}:{port}/
  in a terminal    {python} -m pip install -q websockets
                   {python} -m websockets ws://{host}:{port}/

Ctrl-C stops the server; it tells every client first (close code 1001).
"""


def main(app: Any, websockets: WebSocketApp) -> None:
    """Serve until Ctrl-C or SIGTERM; the first argument of the command line is the port.

    Args:
        app: the ASGI application.
        websockets: the part of it that holds the connections; they are closed before the end.
    """
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    try:
        listener = socket.create_server((HOST, wanted))
    except OSError as exc:
        sys.exit(f"Cannot listen on {HOST}:{wanted} ({exc}). Give another port as the argument.")
    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "WARNING"
    name = Path(sys.argv[0]).stem
    print(NEXT_STEPS.format(name=name, host=HOST, port=port, python=_python()), flush=True)
    trio.run(_serve, app, websockets, config)


async def _serve(app: Any, websockets: WebSocketApp, config: Config) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def stop() -> None:
            await anext(signals)
            await websockets.close_all(1001, timeout=2)

        await serve(app, config, shutdown_trigger=stop)


def _python() -> str:
    """The interpreter, as short as it can be typed from here."""
    python, here = Path(sys.executable), Path.cwd()
    return str(python.relative_to(here)) if python.is_relative_to(here) else str(python)
