"""Which thread and event loop something belongs to, so that calls from elsewhere are refused."""

from __future__ import annotations

from threading import get_ident

from .running import running_loop


class Home:
    """The thread and the event loop in which a connection, or the members of a room, live.

    Args:
        rule: What belongs to which loop, for the refusal.
        call: The call that the refusal recommends, such as ``run_sync(room.publish, message)``.
    """

    __slots__ = ("_call", "_loop", "_rule", "thread")

    def __init__(self, rule: str, call: str) -> None:
        self._rule = rule
        self._call = call
        self.thread: int = 0
        """Identifies the thread. Where every call counts, comparing it is the only check: a thread
        has one loop, but under trio's guest mode."""
        self._loop: object = None

    def settle(self) -> None:
        """This loop is the one from now on."""
        self.thread = get_ident()
        self._loop = running_loop()

    def check(self) -> None:
        """Refuse a call from another thread, or from another event loop of this thread.

        Raises:
            RuntimeError: It is one.
        """
        if get_ident() != self.thread or running_loop() is not self._loop:
            raise RuntimeError(
                f"{self._rule}: from another thread, call anyio.from_thread.{self._call}"
            )
