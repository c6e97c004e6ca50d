"""The client's request: the facts of the handshake that a `WebSocket` provides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast, final
from urllib.parse import unquote_to_bytes

from wsnursery._types import Scope

if TYPE_CHECKING:
    from .transport import Transport

_QUOTED = re.compile(r"\\([0-3][0-7]{2}|.)")
"""How Python's `http.cookies` writes a character that a cookie may not contain."""


class Request:
    """The attributes of `WebSocket` that can also be read before and after the block."""

    __slots__ = ()

    if TYPE_CHECKING:
        _transport: Transport

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> NoReturn:
        # FastAPI passes the types that it does not know to pydantic, which calls this method.
        raise TypeError(
            "FastAPI cannot fill in a parameter of the type wsnursery.WebSocket: write "
            "@wsnursery.starlette.endpoint between @app.websocket(...) and the function, without "
            "@websocket_app"
        )

    @property
    def scope(self) -> Scope:
        """The handshake as an ASGI scope: ``path``, ``headers``, ``query_string``, ``state``..."""
        return self._transport.scope

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The request's headers as in the ASGI scope: lower-case names and values, in bytes."""
        return cast("Sequence[tuple[bytes, bytes]]", self.scope.get("headers", ()))

    def header(self, name: str) -> str | None:
        """The value of a header, or `None` if the request has none of that name.

        Args:
            name: The name, in any case.

        Returns: The value as text, decoded as ISO-8859-1, which can decode every byte. Several
            values of one name are joined with a comma (RFC 9110 §5.3).
        """
        values = _values(self.headers, name.lower().encode("latin-1", "replace"))
        return b", ".join(values).decode("latin-1") if values else None

    @property
    def cookies(self) -> Mapping[str, str]:
        """The request's cookies by name, read at each access.

        If several have one name, the first counts, because browsers send the one with the more
        specific path first (RFC 6265 §5.4). Text that is not a cookie is ignored. A page of any
        origin can make a browser send cookies: see ``Options.allowed_origins``.
        """
        return cookies(self.headers)

    @property
    def query_params(self) -> QueryParams:
        """The parameters after the question mark in the URL, read at each access."""
        return QueryParams(self.scope.get("query_string", b""))

    @property
    def path_params(self) -> Mapping[str, Any]:
        """The parameters that a router has found in the path; empty without a router.

        Routers of Starlette, FastAPI, Litestar and Channels put them into the scope.
        """
        found = self.scope.get("path_params")
        if found is None:
            found = self.scope.get("url_route", {}).get("kwargs", {})
        return cast("Mapping[str, Any]", found)

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The subprotocols that the client offered, in its order of preference."""
        return tuple(self.scope.get("subprotocols") or ())


@final
class QueryParams(Mapping[str, str]):
    """Query parameters by name. If several have one name, the last counts, as in most frameworks.

    No URL makes it raise: a byte that is not UTF-8 becomes U+FFFD.

    Args:
        query: The part of the URL after the question mark, as in the ASGI scope.
    """

    __slots__ = ("_pairs", "_values")

    def __init__(self, query: bytes) -> None:
        self._pairs = tuple(_pairs(query))
        self._values = dict(self._pairs)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"QueryParams({list(self._pairs)!r})"

    def get_all(self, name: str) -> tuple[str, ...]:
        """All values of a name, in the order of the URL: ``?tag=a&tag=b`` has two."""
        return tuple(value for found, value in self._pairs if found == name)


def _pairs(query: bytes) -> Iterator[tuple[str, str]]:
    """Names and values of ``application/x-www-form-urlencoded`` (WHATWG URL §5.1)."""
    for part in query.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            yield _unquoted(name), _unquoted(value)


def _unquoted(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode(errors="replace")


def cookies(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """The cookies in a request's headers. HTTP/2 allows several such headers (RFC 9113 §8.2.3)."""
    found: dict[str, str] = {}
    for pair in b";".join(_values(headers, b"cookie")).split(b";"):
        name, is_pair, value = pair.decode(errors="replace").partition("=")
        if is_pair and name.strip():
            found.setdefault(name.strip(), _cookie_value(value.strip()))
    return found


def _cookie_value(value: str) -> str:
    if len(value) < 2 or not (value[0] == value[-1] == '"'):
        return value
    return _QUOTED.sub(_unescaped, value[1:-1])


def _unescaped(found: re.Match[str]) -> str:
    text = found[1]
    return chr(int(text, 8)) if len(text) == 3 else text


def _values(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]
