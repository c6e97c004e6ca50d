"""What the kit itself raises.

AssertionError
 +-- ApplicationStuck      the application does not do what the test waits for
 +-- Leak                  something was left behind
Exception
 +-- HandshakeDenied       the application refused the connection
 +-- ConnectionEnded       there is nothing more to receive from the application
RuntimeError
 +-- Deadlock              nothing can happen any more, on the virtual clock
BaseException
 +-- Livelock              the tasks run in circles, and the virtual clock stands still
"""

from __future__ import annotations


class ApplicationStuck(AssertionError):
    """The application never did what the test waits for: accept, send, read or end."""


class Leak(AssertionError):
    """Something was left behind: a task, a cancel scope or a message."""


class HandshakeDenied(Exception):
    """The application denied the handshake, or ended without answering it."""

    def __init__(
        self, status: int, headers: list[tuple[bytes, bytes]] | None = None, body: bytes = b""
    ) -> None:
        self.status = status
        """The HTTP status that the peer gets, 403 for a plain denial."""
        self.headers: list[tuple[bytes, bytes]] = [] if headers is None else headers
        """The headers of a denial response."""
        self.body = body
        """The body of a denial response."""
        super().__init__(f"the application denied the handshake with HTTP status {status}")


class ConnectionEnded(Exception):
    """The connection is over, as the peer sees it: there is nothing more to receive."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        """The code in the close frame; 1005 if it had none, 1006 if no close frame came."""
        self.reason = reason
        """The reason in the close frame."""
        super().__init__(f"the connection has ended with code {code}" + (reason and f" {reason!r}"))


class Deadlock(RuntimeError):
    """Every task waits, no timer is set and no I/O is open: nothing can happen any more."""


class Livelock(BaseException):
    """The code under test runs in circles, and the virtual clock stands still.

    Not an ``Exception``: the circle is often a loop around an ``except Exception``.
    """
