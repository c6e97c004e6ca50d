"""The real servers are recognised, so that their callables are called in place.

If this fails with a new release of a server or of Python, see the table in `asgi._in_place`.
"""

import asyncio
import socket
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from wsnursery import Options
from wsnursery.asgi._in_place import sides_of
from wsnursery.asgi._receiving import AsyncioIncoming, TrioIncoming
from wsnursery.asgi._sending import AsyncioOutgoing, TrioOutgoing

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Application:
    """Chooses how the server would be called, and denies the handshake."""

    def __init__(self, *, on_trio: bool) -> None:
        self._on_trio = on_trio
        self.found: list[object] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            sides = sides_of(receive, send, lambda _: None, Options(), on_trio=self._on_trio)
            for side in (sides.incoming, sides.outgoing):
                self.found.append(getattr(side, "func", side))
            await receive()
            await send({"type": "websocket.close"})
        else:
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})


def shake_hands(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        for _ in range(1000):
            with suppress(FileNotFoundError, ConnectionRefusedError):  # it is still starting
                client.connect(str(place))
                break
            time.sleep(0.01)
        client.sendall(HANDSHAKE)
        assert b" 403 " in client.recv(1000)


def config_of(place: Path) -> Any:
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"unix:{place}"]
    return config


def test_hypercorn_on_trio(tmp_path: Path) -> None:
    import trio
    from hypercorn.trio import serve as typed

    application, place = Application(on_trio=True), tmp_path / "s"

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            serve: Any = typed
            nursery.start_soon(
                partial(serve, application, config_of(place), shutdown_trigger=stop.wait)
            )
            await trio.to_thread.run_sync(shake_hands, place)
            stop.set()

    trio.run(main)
    assert application.found == [TrioIncoming, TrioOutgoing]


def test_hypercorn_on_asyncio(tmp_path: Path) -> None:
    from hypercorn.asyncio import serve as typed

    application, place = Application(on_trio=False), tmp_path / "s"

    async def main() -> None:
        stop = asyncio.Event()
        serve: Any = typed
        task = asyncio.create_task(serve(application, config_of(place), shutdown_trigger=stop.wait))
        await asyncio.to_thread(shake_hands, place)
        stop.set()
        await task

    asyncio.run(main())
    assert application.found == [AsyncioIncoming, AsyncioOutgoing]


@pytest.mark.parametrize("protocol", ["websockets-sansio", "wsproto"])
def test_uvicorn(tmp_path: Path, protocol: Any) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    application, place = Application(on_trio=False), tmp_path / "s"

    async def main() -> None:
        config = uvicorn.Config(application, uds=str(place), ws=protocol, log_level="critical")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        await asyncio.to_thread(shake_hands, place)
        server.should_exit = True
        await task

    asyncio.run(main())
    assert application.found == [AsyncioIncoming, AsyncioOutgoing]
