"""Start an example under Hypercorn's trio worker, and print how to try it."""

import socket
import sys
from pathlib import Path
from typing import Any

from wsnursery.hypercorn import Config, run

HOST = "127.0.0.1"
PORT = 8000

NEXT_STEPS = """\
Serving {name} on http://{host}:{port}/. To try it:

  in a browser     open http://{host}:{port}/
  in a terminal    {python} -m pip install -q websockets
                   {python} -m websockets ws://{host}:{port}/

Ctrl-C stops the server. Every client gets close code 1012 first.
"""


def main(app: Any) -> None:
    """Serve until Ctrl-C or SIGTERM; the first argument of the command line is the port."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    try:
        listener = socket.create_server((HOST, wanted))
    except OSError as exc:
        sys.exit(f"Cannot listen on {HOST}:{wanted} ({exc}). Give another port as the argument.")
    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "WARNING"
    config.worker_class = "trio"
    name = Path(sys.argv[0]).stem
    print(NEXT_STEPS.format(name=name, host=HOST, port=port, python=_python()), flush=True)
    sys.exit(run(app, config))


def _python() -> str:
    """The path of the interpreter, relative to the current directory if possible."""
    python, here = Path(sys.executable), Path.cwd()
    return str(python.relative_to(here)) if python.is_relative_to(here) else str(python)
