"""The checks of a handshake's answer, byte by byte, and of its origin."""

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnursery._handshake import (
    check_body,
    check_headers,
    check_status,
    check_subprotocol,
    origin_is_allowed,
    parse_origin,
)

TOKEN = set((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())
"""RFC 9110 §5.6.2, written out."""

INNER = {*b"\t ", *range(0x21, 0x7F), *range(0x80, 0x100)}
"""RFC 9110 §5.5: what a value may hold between its first and last byte."""


def taken(name: bytes, value: bytes) -> bool:
    """Whether a header may be sent."""
    try:
        check_headers([(name, value)])
    except ValueError:
        return False
    return True


# contract: T1
def test_every_byte_in_a_name() -> None:
    assert {byte for byte in range(256) if taken(bytes([byte]), b"v")} == TOKEN
    assert {byte for byte in range(256) if taken(b"x" + bytes([byte]) + b"y", b"v")} == TOKEN


# contract: T1
def test_every_byte_in_a_value() -> None:
    for byte in range(256):
        one = bytes([byte])
        assert taken(b"x-id", b"a" + one + b"b") == (byte in INNER)
        for value in (one, one + b"b", b"a" + one):
            assert taken(b"x-id", value) == (byte in INNER - set(b"\t ")), value


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (b"", b"v", "the name of a header must be a token, got b'': use letters, digits and '-'"),
        (
            b"x y",
            b"v",
            "the name of a header must be a token, got b'x y': use letters, digits and '-'",
        ),
        (
            b"x",
            b"a\r\nset-cookie: b",
            (
                "the value of header b'x' must be without control characters and outer white "
                "space, got b'a\\r\\nset-cookie: b': remove them"
            ),
        ),
        (
            b"Sec-WebSocket-Protocol",
            b"chat",
            "choose the subprotocol with accept(subprotocol=...), not with a header",
        ),
    ],
)
def test_what_a_refused_header_says(name: bytes, value: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        check_headers([(name, value)])


def test_headers_come_back_with_lower_case_names_and_in_order() -> None:
    given_headers = [(b"X-Id", b"A"), (b"set-cookie", b"1"), (b"Set-Cookie", b""), (b"x", b"a b")]
    assert check_headers(iter(given_headers)) == [
        (b"x-id", b"A"),
        (b"set-cookie", b"1"),
        (b"set-cookie", b""),
        (b"x", b"a b"),
    ]
    assert check_headers(()) == []
    assert check_headers([[b"x", b"y"]]) == [(b"x", b"y")]  # type: ignore[list-item]


@pytest.mark.parametrize(
    "header", [None, 1, (), (b"x",), (b"x", b"y", b"z"), ("x", b"y"), (b"x", "y"), "xy", b"xy"]
)
def test_a_header_that_is_no_pair_of_bytes(header: Any) -> None:
    with pytest.raises(TypeError, match="a header must be a pair of bytes") as caught:
        check_headers([header])
    assert repr(header) in str(caught.value)


# contract: T1
def test_a_subprotocol_must_have_been_offered() -> None:
    check_subprotocol(None, ())
    check_subprotocol(None, ("a",))
    check_subprotocol("a", ("b", "a"))
    for subprotocol, offered in [("a", ()), ("c", ("a", "b")), ("A", ("a",))]:
        with pytest.raises(ValueError, match="must be one that the client offered") as caught:
            check_subprotocol(subprotocol, offered)
        assert repr(subprotocol) in str(caught.value)
        assert repr(list(offered)) in str(caught.value)


# contract: T1
@pytest.mark.parametrize("subprotocol", ["", "a b", "a,b", "a\r\nx: y", "é", "\ud800", "a/b"])
def test_a_subprotocol_must_be_a_token(subprotocol: str) -> None:
    """Even if it was offered: a server in front may have let it through."""
    with pytest.raises(ValueError, match="a subprotocol must be a token, got"):
        check_subprotocol(subprotocol, [subprotocol])


@pytest.mark.parametrize("body", [b"", b"no"])
def test_a_body(body: bytes) -> None:
    check_body(body)


@pytest.mark.parametrize("body", ["no", None, bytearray(b"no"), 1])
def test_a_body_that_is_not_bytes(body: Any) -> None:
    with pytest.raises(TypeError, match=f"must be bytes, got {type(body).__name__}"):
        check_body(body)


def test_every_status() -> None:
    for status in range(300, 600):
        check_status(status)
    for status in (*range(-1, 300), *range(600, 1001)):
        with pytest.raises(ValueError, match=f"from 300 to 599, got {status}: use 403"):
            check_status(status)


@pytest.mark.parametrize("status", [None, "403", 403.0, True])
def test_a_status_that_is_no_int(status: Any) -> None:
    with pytest.raises(TypeError, match=f"must be an int, got {type(status).__name__}: write 403"):
        check_status(status)


@pytest.mark.parametrize(
    ("origin", "parts"),
    [
        ("https://example.org", ("https", "example.org", 443)),
        ("http://example.org", ("http", "example.org", 80)),
        ("wss://example.org", ("wss", "example.org", 443)),
        ("ws://example.org", ("ws", "example.org", 80)),
        ("https://example.org:443", ("https", "example.org", 443)),
        ("https://example.org:8443", ("https", "example.org", 8443)),
        ("HTTPS://Example.ORG", ("https", "example.org", 443)),
        ("http://127.0.0.1:8000", ("http", "127.0.0.1", 8000)),
        ("http://[::1]:8000", ("http", "::1", 8000)),
        ("chrome-extension://abcdef", ("chrome-extension", "abcdef", None)),
        ("moz-extension://abcdef:1", ("moz-extension", "abcdef", 1)),
    ],
)
def test_an_origin(origin: str, parts: tuple[str, str, int | None]) -> None:
    assert parse_origin(origin) == parts


NO_ORIGINS = [
    "",
    "null",
    "example.org",
    "//example.org",
    "https://",
    "https:example.org",
    "https://example.org/",
    "https://example.org/path",
    "https://example.org?query",
    "https://example.org#fragment",
    "https://user@example.org",
    "https://example.org:port",
    "https://example.org:99999",
    "https://[::1",
    "file:///",
    "*",
]


@pytest.mark.parametrize("text", NO_ORIGINS)
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some sentences are the standard library's
        parse_origin(text)


def test_the_error_for_a_bad_origin_shows_the_right_form() -> None:
    with pytest.raises(ValueError, match="must be scheme://host or scheme://host:port, got"):
        parse_origin("https://example.org/")


def allowed(*origins: bytes, only: list[str] | None) -> bool:
    headers = [(b"host", b"x"), *((b"origin", origin) for origin in origins)]
    return origin_is_allowed({"headers": headers}, only)


# contract: T2
@pytest.mark.parametrize(
    "origin", [b"https://example.org", b"https://example.org:443", b"HTTPS://EXAMPLE.ORG"]
)
def test_the_same_origin_in_other_words(origin: bytes) -> None:
    assert allowed(origin, only=["https://example.org"])
    assert allowed(origin, only=["http://other", "https://Example.org:443"])


# contract: T2
@pytest.mark.parametrize(
    "origin",
    [
        b"http://example.org",
        b"https://example.org:8443",
        b"https://example.org.evil",
        b"https://evil.example.org",
        b"https://example.or",
        b"https://example.org\xe9",
        *(text.encode() for text in NO_ORIGINS),
    ],
)
def test_another_origin(origin: bytes) -> None:
    assert not allowed(origin, only=["https://example.org"])
    assert allowed(origin, only=None)


# contract: T2
def test_none_and_several_origins() -> None:
    assert allowed(only=["https://example.org"])
    assert allowed(only=[])
    assert not allowed(b"https://example.org", only=[])
    assert not allowed(b"https://example.org", b"https://example.org", only=["https://example.org"])
    assert origin_is_allowed({}, ["https://example.org"])
    assert not origin_is_allowed({"headers": [(b"Origin", b"http://x")]}, ["http://y"])


# contract: T2
@given(st.binary())
def test_no_header_raises(origin: bytes) -> None:
    assert not allowed(origin, only=["https://never.example"])
