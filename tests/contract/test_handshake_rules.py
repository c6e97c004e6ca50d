"""T1, T2: headers that are the server's own, and origins that are patterns or can never match."""

from typing import Any

import pytest

from tests.contract._bench import block, closes
from wsnursery import Options, WebSocket, WebSocketDisconnected, open_websocket, testing

OF_THE_SERVER = [
    "sec-websocket-accept",
    "Sec-WebSocket-Extensions",
    "connection",
    "Upgrade",
    "transfer-encoding",
]


# contract: T1
@pytest.mark.parametrize("name", [*OF_THE_SERVER, "content-length", "Sec-WebSocket-Version"])
async def test_accept_refuses_the_headers_of_the_server(name: str) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="leave it out"):
            await ws.accept(headers=[(b"x-fine", b"1"), (name.encode(), b"0")])
        await ws.accept(headers=[(b"x-fine", b"1")])

    ended = await block(server, body)
    assert ended.error is None
    assert server.peer.response_headers == [(b"x-fine", b"1")]


# contract: T1, C6
@pytest.mark.parametrize("name", OF_THE_SERVER)
async def test_reject_refuses_the_headers_of_the_server(name: str) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="leave it out"):
            await ws.reject(401, [(name.encode(), b"0")])
        await ws.reject(401)

    ended = await block(server, body)
    assert ended.error is None
    assert len(closes(server)) == 1


# contract: T1, C6
async def test_reject_takes_the_headers_that_apply() -> None:
    for status, headers, body in (
        (401, [(b"content-length", b"5"), (b"www-authenticate", b"Basic")], b"login"),
        (426, [(b"upgrade", b"websocket"), (b"connection", b"upgrade")], b""),
        (426, [(b"sec-websocket-version", b"13")], b""),
    ):
        server = testing.Server()
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.reject(status, headers, body)
        assert len(closes(server)) == 1


# contract: T1, C6
async def test_reject_refuses_a_wrong_content_length() -> None:
    server = testing.Server()
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        with pytest.raises(ValueError, match="must be 5, the length of the body, got b'4'"):
            await ws.reject(401, [(b"content-length", b"4")], b"login")
        await ws.reject(401)


async def is_let_in(allowed: list[str], origin: str, scope: Any = None, host: str = "test") -> bool:
    headers = [(b"origin", origin.encode()), (b"host", host.encode())]
    server = testing.Server(headers=headers, scope=scope)
    try:
        async with open_websocket(
            server.scope, server.receive, server.send, options=Options(allowed_origins=allowed)
        ) as ws:
            await ws.accept()
    except WebSocketDisconnected:
        assert closes(server) == ["app deny 403"]
        return False
    return True


# contract: T2
async def test_subdomains() -> None:
    allowed = ["https://*.Example.org", "http://*.localhost:8000"]
    for origin in (
        "https://app.example.org",
        "https://APP.example.org:443",
        "https://a.b.example.org",
        "http://app.localhost:8000",
    ):
        assert await is_let_in(allowed, origin), origin
    for origin in (
        "https://example.org",
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://evilexample.org",
        "https://app.example.org.evil.test",
        "https://.example.org",
        "https://*.example.org",
        "https://evil.test#.example.org",
        "https://evil.test?.example.org",
        "https://evil.test/.example.org",
        "https://evil@app.example.org",
        "http://app.localhost",
        "null",
    ):
        assert not await is_let_in(allowed, origin), origin


# contract: T2
async def test_the_own_host() -> None:
    tls = {"scheme": "wss"}
    for origin, host, scope in (
        ("http://example.org", "example.org", None),
        ("https://example.org", "example.org", None),  # a proxy has ended TLS
        ("https://example.org", "example.org", tls),
        ("https://example.org", "EXAMPLE.org:443", tls),
        ("http://localhost:8000", "localhost:8000", None),
        ("http://[::1]:8000", "[::1]:8000", None),
    ):
        assert await is_let_in(["same"], origin, scope, host), origin
    for origin, host, scope in (
        ("http://example.org", "example.org", tls),
        ("https://evil.test", "example.org", None),
        ("https://example.org:8443", "example.org", None),
        ("https://example.org", "example.org:8443", None),
        ("https://app.example.org", "example.org", None),
        ("ftp://example.org", "example.org", None),
        ("https://example.org", "user@example.org", None),
        ("https://example.org", "", None),
        ("null", "null", None),
    ):
        assert not await is_let_in(["same"], origin, scope, host), origin
    assert await is_let_in(["same", "https://cdn.test"], "https://cdn.test")


# contract: T2
async def test_two_hosts_are_no_own_host() -> None:
    headers = [(b"origin", b"http://a"), (b"host", b"a"), (b"host", b"b")]
    server = testing.Server(headers=headers)
    with pytest.raises(WebSocketDisconnected):
        async with open_websocket(
            server.scope, server.receive, server.send, options=Options(allowed_origins=["same"])
        ):
            pass


# contract: T2
@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("*", "leave allowed_origins at None"),
        ("https://bücher.example", "write 'https://xn--bcher-kva.example'"),
        ("https://*.bücher.example:8443", r"write 'https://\*.xn--bcher-kva.example:8443'"),
        ("https://straße.example", "location.origin"),
        ("https://" + "ü" * 80 + ".example", "location.origin"),
        ("https://.example.org", r"write 'https://\*.example.org'"),
        ("wss://example.org", "write 'https://example.org'"),
        ("WS://example.org:8000", "write 'http://example.org:8000'"),
        ("http://localhost:*", "list every other origin"),
        ("https://app.*.org", "list every other origin"),
        ("https://*example.org", "list every other origin"),
        ("https://*.*.example.org", "list every other origin"),
        ("*://example.org", "list every other origin"),
        ("*.example.org", "list every other origin"),
        ("https://user@example.org", "without a user"),
        ("https://@example.org", "without a user"),
        ("https://example.org/", "without a path"),
        ("https://example.org?", "must be scheme://host"),
        ("https://example.org#", "must be scheme://host"),
        ("https://exam ple.org", "must be scheme://host"),
        ("https://example.org\n", "must be scheme://host"),
        ("https://*.", "must be scheme://host"),
        ("example.org", "must be scheme://host"),
        ("null", "must be scheme://host"),
        ("Same", "must be scheme://host"),
    ],
)
def test_what_can_never_match_is_refused(origin: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Options(allowed_origins=["https://good.example", origin])
