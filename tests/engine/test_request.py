"""Cookies, query and path parameters: what is read from the handshake, also from bad input."""

from typing import Any

import pytest

from tests.faults._opened import opened
from wsnursery import QueryParams, WebSocket, testing


def requested(**scope: Any) -> WebSocket:
    server = testing.Server()
    server.scope = {**server.scope, **scope}
    return opened(server)


@pytest.mark.parametrize(
    ("headers", "cookies"),
    [
        ([], {}),
        ([b"a=1"], {"a": "1"}),
        ([b"a=1; b=2"], {"a": "1", "b": "2"}),
        ([b"a=1;b=2 ;  c = 3"], {"a": "1", "b": "2", "c": "3"}),
        ([b"a=1", b"b=2"], {"a": "1", "b": "2"}),
        ([b"a=first; a=second"], {"a": "first"}),
        ([b'a="quoted"; b="'], {"a": "quoted", "b": '"'}),
        ([rb'a="x\054y\"\\z"'], {"a": 'x,y"\\z'}),
        ([b"a=b=c"], {"a": "b=c"}),
        ([b"a="], {"a": ""}),
        ([b"lonely; =nameless; ;; a=1"], {"a": "1"}),
        (["a=é".encode()], {"a": "é"}),
        ([b"a=\xff"], {"a": "\ufffd"}),
        ([b"A=1; a=2"], {"A": "1", "a": "2"}),
    ],
)
def test_cookies(headers: list[bytes], cookies: dict[str, str]) -> None:
    ws = requested(headers=[(b"host", b"x"), *((b"Cookie", value) for value in headers)])
    assert ws.cookies == cookies


@pytest.mark.parametrize(
    ("query", "params"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&b=two+words", {"a": "1", "b": "two words"}),
        (b"a=%C3%A9%26", {"a": "é&"}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a&b=&=c&&", {"a": "", "b": "", "": "c"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=%FF%zz%", {"a": "\ufffd%zz%"}),
        (b"\xc3\xa9=\xff", {"é": "\ufffd"}),
        (b"a;b=1", {"a;b": "1"}),
    ],
)
def test_query_parameters(query: bytes, params: dict[str, str]) -> None:
    ws = requested(query_string=query)
    assert ws.query_params == params
    assert dict(ws.query_params) == params
    assert len(ws.query_params) == len(params)


def test_several_query_parameters_of_a_name() -> None:
    params = QueryParams(b"tag=a&x=1&tag=b")
    assert params.get_all("tag") == ("a", "b")
    assert params.get_all("none") == ()
    assert params.get("none", "default") == "default"
    with pytest.raises(KeyError):
        params["none"]
    assert repr(params) == "QueryParams([('tag', 'a'), ('x', '1'), ('tag', 'b')])"


@pytest.mark.parametrize(
    ("scope", "params"),
    [
        ({}, {}),
        ({"path_params": {"room": "a", "page": 1}}, {"room": "a", "page": 1}),
        ({"url_route": {"args": (), "kwargs": {"room": "a"}}}, {"room": "a"}),
    ],
    ids=["no router", "Starlette", "Channels"],
)
def test_path_parameters(scope: dict[str, Any], params: dict[str, Any]) -> None:
    assert requested(**scope).path_params == params


def test_a_header() -> None:
    ws = requested(headers=[(b"accept", b"a"), (b"X-Name", b"caf\xe9"), (b"accept", b"b")])
    assert ws.header("X-NAME") == "café"
    assert ws.header("Accept") == "a, b"
    assert ws.header("none") is None
    assert ws.header("né漢") is None


def test_a_scope_that_says_nothing() -> None:
    server = testing.Server()
    server.scope = {"type": "websocket"}
    ws = opened(server)
    assert ws.cookies == ws.query_params == ws.path_params == {}
    assert ws.header("host") is None
