"""The exceptions of the testing kit.

AssertionError
 +-- ApplicationStuck      the application does not do what the test waits for
 +-- Leak                  a task, a cancel scope or a message was left behind
Exception
 +-- HandshakeDenied       the application denied the handshake
 +-- ConnectionEnded       no more messages can be received from the application
RuntimeError
 +-- Deadlock              all tasks wait for each other, on the virtual clock
BaseException
 +-- Livelock              a task loops without waiting, and the virtual clock cannot advance
"""

from __future__ import annotations


class ApplicationStuck(AssertionError):
    """The application did not do what the test waits for: accept, send, read or end."""


class Leak(AssertionError):
    """A task, a cancel scope or a message was left behind."""


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
    """The connection has ended, as the peer sees it: no more messages can be received."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        """The code in the close frame; 1005 if it had none, 1006 if no close frame came."""
        self.reason = reason
        """The reason in the close frame."""
        super().__init__(f"the connection has ended with code {code}" + (reason and f" {reason!r}"))


class Deadlock(RuntimeError):
    """Every task waits, no timer is set and no I/O is open, so nothing can ever happen."""


class Livelock(BaseException):
    """The code under test loops without waiting, so the virtual clock cannot advance.

    It is not an ``Exception``, because such a loop often contains an ``except Exception``.
    """
