"""The thread and event loop of a connection or a room, so that other callers are refused."""

from __future__ import annotations

from threading import get_ident

from .running import running_loop


class Home:
    """The thread and the event loop to which a connection, or the members of a room, belong.

    Args:
        rule: The rule in one sentence, for the error.
        call: The call that the error recommends, such as ``run_sync(room.publish, message)``.
    """

    __slots__ = ("_call", "_loop", "_rule", "thread")

    def __init__(self, rule: str, call: str) -> None:
        self._rule = rule
        self._call = call
        self.thread: int = 0
        """Identifies the thread. On hot paths only this is compared, because a thread has one loop,
        except in trio's guest mode."""
        self._loop: object = None

    def settle(self) -> None:
        """Belong to the running loop from now on."""
        self.thread = get_ident()
        self._loop = running_loop()

    def check(self) -> None:
        """Refuse a call from another thread, or from another event loop of this thread.

        Raises:
            RuntimeError: The call comes from another thread or event loop.
        """
        if get_ident() != self.thread or running_loop() is not self._loop:
            raise RuntimeError(
                f"{self._rule}: from another thread, call anyio.from_thread.{self._call}"
            )
