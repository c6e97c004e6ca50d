"""The faults that the buttons inject. The engine does everything that follows."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from wsnursery import WebSocket

from ._subjects import Subject

FLOOD = 100
"""Messages that a client sends at once. Handling all of them takes some seconds."""


LOOK_UP_SECONDS = 0.5
"""Seconds until the child fails, long enough to see it run."""


async def look_up(ws: WebSocket) -> None:
    """A child with a bug."""
    await anyio.sleep(LOOK_UP_SECONDS)
    prices: dict[str, float] = {}
    await ws.send_json(prices["EUR"])


def reset(subject: Subject) -> None:
    """Make the next send raise the error for a client that is gone."""
    subject.seam.reset()


def stall(subject: Subject) -> None:
    """Stop reading, as a stuck client does."""
    subject.seam.stall()


def flood(subject: Subject) -> None:
    """Let the page send faster than the handler reads, over the network."""
    subject.ws.send_nowait(f'{{"flood":{FLOOD}}}')


def fail(subject: Subject) -> None:
    """Start a child that raises."""
    subject.ws.start_soon(look_up, subject.ws)


def cancel(subject: Subject) -> None:
    """Cancel the scope around the block."""
    subject.outside.cancel()


ACTIONS: dict[str, Callable[[Subject], None]] = {
    "reset": reset,
    "stall": stall,
    "flood": flood,
    "fail": fail,
    "cancel": cancel,
}
"""Actions by the name that the page uses. ``stop`` is not one, because it ends the server."""


def act(action: str, subject: Subject) -> str:
    """Break a connection.

    Returns:
        The reason why it was refused, in a sentence; empty if it was done.
    """
    try:
        ACTIONS[action](subject)
    except anyio.WouldBlock:
        return "The send buffer of this connection is full: its page cannot be asked to send."
    except (anyio.ClosedResourceError, ConnectionError):
        return "This connection is just ending: choose another one."
    return ""
