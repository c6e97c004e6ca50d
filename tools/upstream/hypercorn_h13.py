"""H13: one packet of HTTP/2, or an upgrade to it, ends the process of a trio worker.

Settings that are cut, and bytes that are not ASCII in a method or a path.
"""

import socket
import sys
import time
from contextlib import suppress

from _reproduction import HYPERCORN_TRIO, Event, Receive, Send, Server, run, websocket

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"HTTP2-Settings: AAM\r\n\r\n"
)


@websocket
async def app(_scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})


def reproduce(server: Server) -> str | None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(UPGRADE)
        client.recv(4096)
        client.recv(4096)
    time.sleep(0.5)
    return None if server.serves() else "the server does not listen any more"


if __name__ == "__main__":
    sys.exit(run(__file__, reproduce, HYPERCORN_TRIO, logs_errors=True))
