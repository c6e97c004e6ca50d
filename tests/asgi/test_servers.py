"""The table of servers: exceptions that mean that the peer is gone, and how to recognise
servers."""

import sys
from types import ModuleType
from typing import Any

import pytest

from wsnursery import testing
from wsnursery.asgi._servers import (
    GONE_SIGNS,
    GRANIAN_TRAITS,
    HYPERCORN,
    ORDINARY,
    means_gone,
    substitute_code,
    traits_of,
)


def raised_by(module: str, name: str, text: str) -> Exception:
    """An exception of a server's library, which need not be installed."""
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


REFUSAL = "invalid close code 1011 (must be 1000 or from [3000, 4999])"


# contract: C1, C3
def test_a_code_that_was_refused_has_a_substitute() -> None:
    assert substitute_code(1011, Exception(REFUSAL)) == 4911
    assert substitute_code(1001, Exception(REFUSAL.replace("1011", "1001"))) == 4901


@pytest.mark.parametrize(
    ("code", "exc"),
    [
        (1001, Exception(REFUSAL)),  # about another code
        (101, Exception(REFUSAL)),
        (1011, ValueError(REFUSAL)),
        (1011, OSError(REFUSAL)),
        (1011, Exception("no " + REFUSAL)),
        (1011, Exception()),
    ],
    ids=repr,
)
def test_what_is_no_refusal_of_a_code(code: int, exc: Exception) -> None:
    assert substitute_code(code, exc) is None


def test_granian_is_known_by_its_scope() -> None:
    assert traits_of({"extensions": {"http.response.pathsend": {}}}) is GRANIAN_TRAITS
    assert not GRANIAN_TRAITS.drains
    assert GRANIAN_TRAITS.receive_blocks_close


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
    assert not ORDINARY.drains
    assert not ORDINARY.receive_blocks_close


@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
def test_the_servers_in_memory_are_known(
    personality: testing.Personality, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hypercorn", ModuleType("hypercorn"))
    """An old uvicorn announces the same ASGI version as Hypercorn, so it is drained needlessly."""
    scope = testing.Server(personality=personality).scope
    if personality.name.startswith("granian"):
        assert traits_of(scope) is GRANIAN_TRAITS
    elif personality.name.startswith("hypercorn") or personality.name == "uvicorn-old":
        assert traits_of(scope) is HYPERCORN
    else:
        assert traits_of(scope) is ORDINARY
