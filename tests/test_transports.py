"""One contract, whatever carries the WebSocket: ASGI, trio-websocket on both ends, and a third."""

from typing import Any

import anyio
import pytest
from wsproto import ConnectionType
from wsproto.events import CloseConnection

from examples.sansio_transport import serve_stream
from tests._pairs import BytePipe, asgi, pipes, sansio, trio_client, trio_server
from tests.trio_websocket._peers import Peer
from wsnursery import WebSocket, transports
from wsnursery.testing import virtual_backend
from wsnursery.testing._conformance import TRANSPORT_CHECKS

BOTH = ["asyncio", "trio"]
PAIRS = [
    *[pytest.param(asgi, backend, id=f"asgi-{backend}") for backend in BOTH],
    pytest.param(trio_client, "trio", id="trio-websocket-client"),
    pytest.param(trio_server, "trio", id="trio-websocket-server"),
    *[pytest.param(sansio, backend, id=f"sansio-{backend}") for backend in BOTH],
]


# ---------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("rule", TRANSPORT_CHECKS)
@pytest.mark.parametrize(("pair", "backend"), PAIRS)
def test_contract(pair: Any, backend: str, rule: str) -> None:
    name, options = virtual_backend(backend)
    anyio.run(TRANSPORT_CHECKS[rule], pair, backend=name, backend_options=options)


# --------------------------------------------------------------------------------- the third one


async def sansio_peer(group: Any, handler: Any) -> Peer:
    """A client of the example's server."""
    ours, theirs = pipes()
    group.start_soon(serve_stream, handler, ours)
    await anyio.lowlevel.checkpoint()
    return Peer(BytePipe(theirs), ConnectionType.CLIENT)  # type: ignore[arg-type]


async def test_sansio_handshake() -> None:
    async def handler(ws: WebSocket) -> None:
        assert ws.scope["path"] == "/room"
        await ws.accept(ws.subprotocols[1], headers=[(b"x-id", b"7")])

    async with anyio.create_task_group() as group:
        peer = await sansio_peer(group, handler)
        answer = await peer.open("/room", subprotocols=["a", "b"])
        assert answer.subprotocol == "b"
        assert (b"x-id", b"7") in answer.extra_headers
        await peer.send(CloseConnection(code=1000))
        await peer.vanish()


async def test_sansio_denial() -> None:
    async def turn_away(ws: WebSocket) -> None:
        await ws.reject(404, body=b"no such room")

    async def leave(ws: WebSocket) -> None:
        await anyio.lowlevel.checkpoint()

    for handler, status in ((turn_away, 404), (leave, 403)):
        async with anyio.create_task_group() as group:
            peer = await sansio_peer(group, handler)
            answer = await peer.open("/")
            assert answer.status_code == status
            await peer.vanish()


async def test_sansio_peer_that_breaks_the_protocol() -> None:
    codes: list[int | None] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        codes.append(ws.close_code)

    async with anyio.create_task_group() as group:
        peer = await sansio_peer(group, handler)
        await peer.open("/")
        await anyio.wait_all_tasks_blocked()
        await peer.stream.send_all(b"\xff\xff\xff\xff\xff\xff")
        assert (await peer.close_frame())[0] == 1002
        await peer.vanish()
    assert codes == [1002]


@pytest.mark.parametrize("request_", [b"x", b"nonsense\r\n\r\n"])
async def test_sansio_client_of_something_else(request_: bytes) -> None:
    async with anyio.create_task_group() as group:
        peer = await sansio_peer(group, None)
        await peer.stream.send_all(request_)
        await peer.vanish()


def test_public_names() -> None:
    assert all(hasattr(transports, name) for name in transports.__all__)
