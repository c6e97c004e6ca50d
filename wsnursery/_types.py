"""The ASGI types, wide enough for the callables of every framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

Scope: TypeAlias = Mapping[str, Any]
"""An ASGI connection scope: a plain dict, Starlette's ``Scope``, asgiref's ``WebSocketScope``."""

Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
"""The ASGI ``receive`` callable."""

Send: TypeAlias = Callable[[Any], Awaitable[None]]
"""The ASGI ``send`` callable. The event is `Any`, because servers use their own TypedDicts."""

Message: TypeAlias = str | bytes
"""A WebSocket message: text or binary (RFC 6455 §5.6)."""

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Header names and values in the form of ASGI: pairs of bytes."""
