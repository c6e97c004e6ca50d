"""Faults: what goes wrong in the server, and at which call.

A fault is a small immutable description. :class:`Armed` counts the calls for it. To write your own,
subclass :class:`Fault` and override the methods that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel

from ._peer import Peer

Error = BaseException | type[BaseException] | Callable[[], BaseException]
"""An exception, its class, or a function that makes one."""


def _make(error: Error) -> BaseException:
    return error if isinstance(error, BaseException) else error()


@dataclass(frozen=True)
class Fault:
    """The base class of all faults. By itself it does nothing.

    Its methods run inside the application's raw call, and may wait there.

    Calls are numbered from 1, starting when the fault was given to the server or injected.
    """

    async def on_send(self, peer: Peer, number: int, event: Mapping[str, Any]) -> None:
        """Called at the application's ``number``-th raw send, before it takes effect."""

    async def on_receive(self, peer: Peer, number: int) -> Mapping[str, Any] | None:
        """Called at the application's ``number``-th raw receive.

        Returns:
            An event that ``receive()`` returns instead of the peer's; usually ``None``.
        """

    def on_call(self, peer: Peer, number: int) -> None:
        """Called at the ``number``-th raw call, with sends and receives counted together."""


@dataclass(frozen=True)
class FailSend(Fault):
    """The ``number``-th raw send raises ``error`` and sends nothing."""

    number: int
    error: Error
    vanish: bool = False
    """Whether the peer leaves at that moment, so that a disconnect event follows."""

    async def on_send(self, peer: Peer, number: int, event: Mapping[str, Any]) -> None:
        """Raise at the right call."""
        if number == self.number:
            if self.vanish:
                peer.vanish()
            raise _make(self.error)


@dataclass(frozen=True)
class StallSend(Fault):
    """The ``number``-th raw send waits until ``until`` is set, or for ever without it."""

    number: int
    until: anyio.Event | None = None
    shielded: bool = False
    """Whether the wait cannot be cancelled (as on Hypercorn with trio)."""

    async def on_send(self, peer: Peer, number: int, event: Mapping[str, Any]) -> None:
        """Wait at the right call."""
        if number == self.number:
            with anyio.CancelScope(shield=self.shielded):
                await (anyio.sleep_forever() if self.until is None else self.until.wait())


@dataclass(frozen=True)
class FailReceive(Fault):
    """The ``number``-th raw receive raises ``error``."""

    number: int
    error: Error

    async def on_receive(self, peer: Peer, number: int) -> None:
        """Raise at the right call."""
        if number == self.number:
            raise _make(self.error)


@dataclass(frozen=True)
class Garbage(Fault):
    """The ``number``-th raw receive returns ``event``, which may be anything."""

    number: int
    event: Mapping[str, Any]

    async def on_receive(self, peer: Peer, number: int) -> Mapping[str, Any] | None:
        """Return the event at the right call."""
        return self.event if number == self.number else None


@dataclass(frozen=True)
class Delay(Fault):
    """Every raw call takes ``checkpoints`` extra checkpoints before it takes effect."""

    checkpoints: int

    async def on_send(self, peer: Peer, number: int, event: Mapping[str, Any]) -> None:
        """Delay a send."""
        await pause(self.checkpoints)

    async def on_receive(self, peer: Peer, number: int) -> None:
        """Delay a receive."""
        await pause(self.checkpoints)


@dataclass(frozen=True)
class VanishAt(Fault):
    """The peer vanishes at the ``number``-th raw call (sends and receives together)."""

    number: int

    def on_call(self, peer: Peer, number: int) -> None:
        """Vanish at the right call."""
        if number == self.number:
            peer.vanish()


@dataclass(frozen=True)
class CloseAt(Fault):
    """The peer closes with a close frame at the ``number``-th raw call."""

    number: int
    code: int | None = 1000
    reason: str = ""

    def on_call(self, peer: Peer, number: int) -> None:
        """Close at the right call."""
        if number == self.number:
            peer.close(self.code, self.reason)


async def pause(checkpoints: int) -> None:
    """Let other tasks run, this many times."""
    for _ in range(checkpoints):
        await anyio.lowlevel.checkpoint()


class Armed:
    """One fault in one server. It counts the calls of that server from now on."""

    __slots__ = ("_calls", "_peer", "_receives", "_sends", "fault")

    def __init__(self, fault: Fault, peer: Peer) -> None:
        self.fault = fault
        self._peer = peer
        self._calls = self._sends = self._receives = 0

    def count_send(self) -> None:
        """Count a raw send. Every fault counts it before any of them acts."""
        self._calls += 1
        self._sends += 1

    def count_receive(self) -> None:
        """Count a raw receive."""
        self._calls += 1
        self._receives += 1

    async def sending(self, event: Mapping[str, Any]) -> None:
        """Act on this send, if it is time."""
        self.fault.on_call(self._peer, self._calls)
        await self.fault.on_send(self._peer, self._sends, event)

    async def receiving(self) -> Mapping[str, Any] | None:
        """Act on this receive, if it is time. Return the event to use instead, if any."""
        self.fault.on_call(self._peer, self._calls)
        return await self.fault.on_receive(self._peer, self._receives)
