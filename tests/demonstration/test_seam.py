"""What a bad network does to the sends of one connection."""

from typing import Any

import anyio
import pytest

from examples.demonstration._seam import Seam

MESSAGE = {"type": "websocket.send", "text": "hello"}
CLOSE = {"type": "websocket.close", "code": 1000}


@pytest.fixture
def sent() -> list[Any]:
    return []


@pytest.fixture
def seam(sent: list[Any]) -> Seam:
    async def send(event: Any) -> None:
        sent.append(event)

    return Seam(send)


async def test_it_passes_everything_on(seam: Seam, sent: list[Any]) -> None:
    await seam.send(MESSAGE)
    await seam.send(CLOSE)
    assert sent == [MESSAGE, CLOSE]
    assert seam.fault == ""


async def test_a_reset_is_what_a_server_raises(seam: Seam, sent: list[Any]) -> None:
    seam.reset()
    assert seam.fault == "reset"
    for _ in range(2):
        with pytest.raises(ConnectionResetError, match=r"^\[Errno \d+\] Connection reset by peer$"):
            await seam.send(MESSAGE)
    await seam.send(CLOSE)
    assert sent == [CLOSE]


async def test_a_stall_lasts(seam: Seam, sent: list[Any]) -> None:
    seam.stall()
    seam.stall()
    assert seam.fault == "stalled"
    with anyio.move_on_after(1e6) as scope:
        await seam.send(MESSAGE)
    assert scope.cancelled_caught
    await seam.send(CLOSE)
    assert sent == [CLOSE]


async def test_a_reset_ends_no_stall_but_the_next_send(seam: Seam) -> None:
    seam.stall()
    seam.reset()
    assert seam.fault == "reset"
    with pytest.raises(ConnectionResetError):
        await seam.send(MESSAGE)
