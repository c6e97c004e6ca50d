"""The table of servers: which exceptions mean that the peer is gone, and how a server is known."""

from typing import Any

import pytest

from wsnursery import testing
from wsnursery._servers import GONE_SIGNS, GRANIAN, ORDINARY, means_gone, traits_of


def raised_by(module: str, name: str, text: str) -> Exception:
    """An exception as a server's library raises it; nothing of it is installed here."""
    kind: type[Exception] = type(name, (Exception,), {"__module__": module})
    return kind(text)


UVICORN_TEXT = (
    "Unexpected ASGI message 'websocket.send', after sending 'websocket.close' or response "
    "already completed."
)


# contract: D9
@pytest.mark.parametrize(
    "exc",
    [
        RuntimeError(UVICORN_TEXT),
        RuntimeError("ASGI flow error: Transport not initialized or closed"),
        raised_by("websockets.exceptions", "ConnectionClosed", ""),
        raised_by("websockets.exceptions", "ConnectionClosedOK", "sent 1000 (OK)"),
        raised_by("websockets.exceptions", "ConnectionClosedError", "no close frame"),
        raised_by("wsproto.utilities", "LocalProtocolError", "Connection already closed"),
        raised_by("autobahn.exception", "Disconnected", "Attempt to send on a closed protocol"),
    ],
    ids=repr,
)
def test_a_sign_that_the_peer_is_gone(exc: Exception) -> None:
    assert means_gone(exc)


# contract: D9
@pytest.mark.parametrize(
    "exc",
    [
        RuntimeError("something else"),
        RuntimeError(),
        ValueError(UVICORN_TEXT),
        raised_by("elsewhere", "RuntimeError", UVICORN_TEXT),
        raised_by("websockets.exceptions", "InvalidState", ""),
        raised_by("websockets.exceptions.more", "ConnectionClosed", ""),
        raised_by("elsewhere", "ConnectionClosed", ""),
        raised_by("wsproto.utilities", "RemoteProtocolError", ""),
        raised_by("autobahn.exception", "PayloadExceededError", ""),
    ],
    ids=repr,
)
def test_what_is_no_sign(exc: Exception) -> None:
    assert not means_gone(exc)


def test_an_oserror_needs_no_sign() -> None:
    """The engine knows it by its class."""
    assert not means_gone(ConnectionResetError())


@pytest.mark.parametrize("sign", GONE_SIGNS, ids=lambda sign: sign.seen)
def test_every_row_says_where_it_was_seen(sign: Any) -> None:
    assert any(name in sign.seen for name in ("uvicorn", "granian", "daphne"))
    assert any(character.isdigit() for character in sign.seen)


def test_granian_is_known_by_its_scope() -> None:
    assert traits_of({"extensions": {"http.response.pathsend": {}}}) is GRANIAN
    assert not GRANIAN.drains
    assert GRANIAN.receive_blocks_close


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"extensions": None},
        {"extensions": {}},
        {"extensions": {"websocket.http.response": {}, "tls": {}}},
    ],
    ids=repr,
)
def test_every_other_server_is_ordinary(scope: dict[str, Any]) -> None:
    assert traits_of(scope) is ORDINARY
    assert ORDINARY.drains
    assert not ORDINARY.receive_blocks_close


@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
def test_the_servers_in_memory_are_known(personality: testing.Personality) -> None:
    traits = traits_of(testing.Server(personality=personality).scope)
    assert traits is (GRANIAN if personality.name.startswith("granian") else ORDINARY)
