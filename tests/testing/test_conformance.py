"""The check for transports passes where it should, and names the violated rule elsewhere."""

from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests._pairs import AsgiRemote, accepted, asgi
from wsnursery import Options, open_websocket, testing
from wsnursery.testing import check_transport


async def test_check_transport() -> None:
    await check_transport(asgi)


async def test_check_transport_finds_what_is_broken() -> None:
    """A transport that loses every empty message."""

    @asynccontextmanager
    async def forgetful(options: Options):
        server = testing.Server(personality=testing.UVICORN)

        async def send(event: Any) -> None:
            if event.get("text") != "":
                await server.send(event)

        ws = open_websocket(server.scope, server.receive, send, options=options)
        yield accepted(ws), AsgiRemote(server.peer)

    with pytest.RaisesGroup(TimeoutError) as caught:
        await check_transport(forgetful)
    rule = "messages of every kind pass both ways, unchanged (R1, S6)"
    assert caught.value.exceptions[0].__notes__ == [f"the transport breaks the rule: {rule}"]
