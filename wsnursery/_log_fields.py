"""The fields of a log record that name a connection."""

from __future__ import annotations

from uuid import UUID

from ._errors import escaped
from ._types import Scope

UNKNOWN_CLIENT = "an unknown client"
"""What a text says where the scope has no address."""


def fields_of(scope: Scope, connection: UUID) -> dict[str, str | None]:
    """Return ``ws_id``, ``ws_path`` and ``ws_client``. What the peer chose is escaped."""
    client = scope.get("client")
    return {
        "ws_id": str(connection),
        "ws_path": escaped(str(scope.get("path", ""))),
        "ws_client": escaped(str(client[0])) if client else None,
    }
