"""What a client may ask a server for."""

from typing import Any

import pytest

from wsnursery.trio_websocket._request import check_offer, check_request_headers


def test_headers() -> None:
    assert check_request_headers([(b"X-Id", b"1")]) == [(b"x-id", b"1")]


@pytest.mark.parametrize("name", [b"Host", b"upgrade", b"Sec-WebSocket-Key"])
def test_headers_of_the_handshake(name: bytes) -> None:
    with pytest.raises(ValueError, match="the handshake sets the header"):
        check_request_headers([(name, b"1")])


@pytest.mark.parametrize("header", [("x-id", "1"), 7, (b"x", b"1", b"2")])
def test_headers_of_a_wrong_type(header: Any) -> None:
    with pytest.raises(TypeError, match="a header must be a pair of bytes"):
        check_request_headers([header])


def test_offer() -> None:
    assert check_offer(iter(["chat.v2", "chat"])) == ["chat.v2", "chat"]


@pytest.mark.parametrize("offer", [[""], ["a b"], ["a,b"], ["a", "a"], ["\N{SNOWMAN}"]])
def test_refused_offer(offer: list[str]) -> None:
    with pytest.raises(ValueError, match=r"must be a token|offer each once"):
        check_offer(offer)


def test_offer_of_one_string() -> None:
    with pytest.raises(TypeError, match=r"write \['chat'\]"):
        check_offer("chat")
