"""The log lines about one connection: each ends with its path, the client's address and its id.

The id is in the scope, because all parts of a connection share it: the transport, the engine and
the application around it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from uuid import UUID, uuid4

from wsnursery._log_fields import UNKNOWN_CLIENT, fields_of
from wsnursery._types import Scope

if TYPE_CHECKING:
    _Adapter: TypeAlias = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter

_ID = "wsnursery.id"
"""The key of the connection's id in its scope."""

logger = logging.getLogger("wsnursery")


def id_of(scope: Scope) -> UUID:
    """The id of a connection, made when it is first asked for, because most never need one."""
    found = scope.get(_ID)
    if isinstance(found, UUID):
        return found
    # A version 4 UUID is unique across processes and machines, so logs can be merged.
    made = cast("dict[str, Any]", scope)[_ID] = uuid4()  # ASGI promises a dict
    return made


class ConnectionLog(_Adapter):
    """Logs lines that name one connection, in the text and in the record's fields.

    A new object is made for each line, because there are few lines and many connections. A line
    that is not logged costs almost nothing, because every client that leaves causes one at debug
    level.
    """

    def __init__(self, scope: Scope) -> None:
        super().__init__(logger, {})
        self._scope = scope

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log one line; the arguments are those of `logging.Logger.log`."""
        if self.isEnabledFor(level):
            fields = fields_of(self._scope, id_of(self._scope))
            client = fields["ws_client"] or UNKNOWN_CLIENT
            named = (fields["ws_path"], client, fields["ws_id"])
            whole = f"{msg} (WebSocket %s from %s, %s)"
            self.logger.log(level, whole, *args, *named, extra=fields, **kwargs)
