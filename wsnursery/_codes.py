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
    """A type of message that this endpoint does not take (text for binary, say)."""
    NO_STATUS_RECEIVED = 1005
    """Reserved: reported when the close frame had no code; never sent."""
    ABNORMAL_CLOSURE = 1006
    """Reserved: reported when there was no close frame; never sent. Hypercorn reports it for every
    end that the peer began, so from Hypercorn it means "unknown"."""
    INVALID_PAYLOAD = 1007
    """A message that is not consistent with its type, such as text that is not UTF-8."""
    POLICY_VIOLATION = 1008
    """The generic "no", when no other code fits or its reason must be hidden."""
    MESSAGE_TOO_BIG = 1009
    """A message larger than this endpoint processes."""
    MANDATORY_EXTENSION = 1010
    """A client expected an extension that the server did not negotiate."""
    INTERNAL_ERROR = 1011
    """The server met a condition that kept it from fulfilling the request."""
    SERVICE_RESTART = 1012
    """The server restarts; come back after a random time."""
    TRY_AGAIN_LATER = 1013
    """The server is overloaded."""
    BAD_GATEWAY = 1014
    """A gateway got an invalid answer from upstream."""
    TLS_HANDSHAKE = 1015
    """Reserved: reported when the TLS handshake failed; never sent."""


_SENDABLE = (range(1000, 1004), range(1007, 1015), range(3000, 5000))
"""What an endpoint may put into a close frame: RFC 6455 §7.4.1 and §7.4.2, with the IANA registry.

1004 to 1006 and 1015 are reserved, 1016 to 2999 belong to the protocol's future.
"""

MAX_REASON_BYTES = 123
"""A control frame's payload has at most 125 bytes (RFC 6455 §5.5), the code takes two of them."""


def check_close(code: Any, reason: Any) -> None:
    """Refuse a close code or reason that may not be sent.

    Raises:
        LocalProtocolError: The value may not be sent.
        TypeError: ``code`` is not an integer or ``reason`` is not a string.
    """
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"a close code is an int, such as 1000 or 4001, not {type(code).__name__}")
    if not isinstance(reason, str):
        raise TypeError(f"a close reason is a str, not {type(reason).__name__}")
    if not any(code in sendable for sendable in _SENDABLE):
        raise LocalProtocolError(
            f"close code {int(code)} may not be sent: use 1000-1003, 1007-1014, or 3000-4999"
        )
    try:
        size = len(reason.encode())
    except UnicodeEncodeError:
        raise LocalProtocolError(
            "the close reason holds a lone surrogate: use text that can be encoded as UTF-8"
        ) from None
    if size > MAX_REASON_BYTES:
        raise LocalProtocolError(
            f"the close reason has {size} bytes in UTF-8: shorten it to at most {MAX_REASON_BYTES}"
        )
