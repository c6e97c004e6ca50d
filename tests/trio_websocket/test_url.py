"""The URLs of WebSocket servers."""

import pytest

from wsnursery.trio_websocket._url import parse_url


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "resource", "host_header"),
    [
        ("ws://example.org", False, "example.org", 80, "/", "example.org"),
        ("wss://example.org/a%20b?c=d&e", True, "example.org", 443, "/a%20b?c=d&e", "example.org"),
        ("ws://127.0.0.1:8000?q", False, "127.0.0.1", 8000, "/?q", "127.0.0.1:8000"),
        ("wss://[::1]:80/", True, "::1", 80, "/", "[::1]:80"),
        ("WS://example.org:80/", False, "example.org", 80, "/", "example.org"),
    ],
)
def test_parse_url(
    url: str, secure: bool, host: str, port: int, resource: str, host_header: str
) -> None:
    parsed = parse_url(url)
    assert (parsed.secure, parsed.host, parsed.port) == (secure, host, port)
    assert (parsed.resource, parsed.host_header) == (resource, host_header)
    assert parsed.scheme == ("wss" if secure else "ws")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://example.org", "is not a WebSocket URL: write ws://host/path or wss://host/path"),
        ("ws:///path", "is not a WebSocket URL"),
        ("example.org", "is not a WebSocket URL"),
        ("ws://example.org/#top", "must be without a fragment, got .*: drop it"),
        ("ws://me:secret@example.org/", "a user name, which would not be sent: use headers="),
        ("ws://example.org/a b", "percent-encode it"),
        ("ws://example.org/\N{SNOWMAN}", "percent-encode it"),
        ("ws://example.org/\r\n", "percent-encode it"),
    ],
)
def test_refused_url(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)
