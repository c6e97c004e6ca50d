"""Close codes: their names, and which codes and reasons an endpoint may send.

The names are those of RFC 6455 §7.4.1 and of the IANA "WebSocket Close Code Number Registry".
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from ._errors import LocalProtocolError

__all__ = ["CloseCode", "check_close"]


class CloseCode(IntEnum):
    """The registered close codes (RFC 6455 §7.4.1 and the IANA registry).

    Codes from 3000 to 3999 are for libraries and frameworks, from 4000 to 4999 for applications
    (RFC 6455 §7.4.2); they are plain integers.
    """

    NORMAL_CLOSURE = 1000
    """The purpose of the connection is fulfilled."""
    GOING_AWAY = 1001
    """The server stops, or the browser leaves the page."""
    PROTOCOL_ERROR = 1002
    """The peer broke RFC 6455."""
    UNSUPPORTED_DATA = 1003
    """A type of message that this endpoint does not accept, such as text instead of binary."""
    NO_STATUS_RECEIVED = 1005
    """Reserved: reported when the close frame had no code; never sent."""
    ABNORMAL_CLOSURE = 1006
    """Reserved: reported when there was no close frame; never sent. Hypercorn reports it for every
    end that the peer started, so from Hypercorn it means "unknown"."""
    INVALID_PAYLOAD = 1007
    """A message that does not match its type, such as text that is not UTF-8."""
    POLICY_VIOLATION = 1008
    """A generic refusal, for when no other code fits or the reason must be hidden."""
    MESSAGE_TOO_BIG = 1009
    """A message larger than this endpoint processes."""
    MANDATORY_EXTENSION = 1010
    """A client expected an extension that the server did not negotiate."""
    INTERNAL_ERROR = 1011
    """An error prevented the server from fulfilling the request."""
    SERVICE_RESTART = 1012
    """The server restarts. Reconnect after a random time."""
    TRY_AGAIN_LATER = 1013
    """The server is overloaded."""
    BAD_GATEWAY = 1014
    """A gateway got an invalid answer from upstream."""
    TLS_HANDSHAKE = 1015
    """Reserved: reported when the TLS handshake failed; never sent."""


_SENDABLE = (range(1000, 1004), range(1007, 1015), range(3000, 5000))
"""The codes that may be sent: RFC 6455 §7.4.1 and §7.4.2, with the IANA registry.

1004 to 1006 and 1015 are reserved. 1016 to 2999 are for future versions of the protocol.
"""

MAX_REASON_BYTES = 123
"""A control frame's payload has at most 125 bytes (RFC 6455 §5.5), and the code takes 2 of them."""


def check_close(code: Any, reason: Any) -> None:
    """Refuse a close code or reason that may not be sent.

    Raises:
        LocalProtocolError: The value may not be sent.
        TypeError: ``code`` is not an integer or ``reason`` is not a string.
    """
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"a close code must be an int, such as 1000, got {type(code).__name__}")
    if not isinstance(reason, str):
        raise TypeError(f"a close reason must be a str, got {type(reason).__name__}")
    if not any(code in sendable for sendable in _SENDABLE):
        raise LocalProtocolError(
            f"close code {int(code)} may not be sent: use 1000-1003, 1007-1014, or 3000-4999"
        )
    try:
        size = len(reason.encode())
    except UnicodeEncodeError:
        raise LocalProtocolError(
            "the close reason contains a lone surrogate: use text that can be encoded as UTF-8"
        ) from None
    if size > MAX_REASON_BYTES:
        raise LocalProtocolError(
            f"the close reason has {size} bytes in UTF-8: shorten it to at most {MAX_REASON_BYTES}"
        )
