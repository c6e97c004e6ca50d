"""The ASGI types, wide enough that the callables of every framework fit them unchanged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

Scope: TypeAlias = Mapping[str, Any]
"""An ASGI connection scope: a plain dict, Starlette's ``Scope``, asgiref's ``WebSocketScope``."""

Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
"""The ASGI ``receive`` callable."""

Send: TypeAlias = Callable[[Any], Awaitable[None]]
"""The ASGI ``send`` callable. `Any`, because servers type the event with TypedDicts of their
own."""

Message: TypeAlias = str | bytes
"""A WebSocket message: text or binary (RFC 6455 §5.6)."""

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Header names and values as ASGI has them: pairs of bytes."""
