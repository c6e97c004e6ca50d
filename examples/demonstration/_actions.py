"""What the buttons do to a connection. What follows from it is the engine's."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from wsnursery import WebSocket

from ._subjects import Subject

FLOOD = 100
"""Messages that a client sends at once: with the work for each, some seconds' worth."""


LOOK_UP_SECONDS = 0.5
"""Seconds until the child fails, so that one sees it run."""


async def look_up(ws: WebSocket) -> None:
    """A child with a bug."""
    await anyio.sleep(LOOK_UP_SECONDS)
    prices: dict[str, float] = {}
    await ws.send_json(prices["EUR"])


def reset(subject: Subject) -> None:
    """The next send raises what a server raises whose client is gone."""
    subject.seam.reset()


def stall(subject: Subject) -> None:
    """The client reads nothing any more."""
    subject.seam.stall()


def flood(subject: Subject) -> None:
    """The client sends faster than the handler reads: its own page does it, over the network."""
    subject.ws.send_nowait(f'{{"flood":{FLOOD}}}')


def fail(subject: Subject) -> None:
    """A child raises."""
    subject.ws.start_soon(look_up, subject.ws)


def cancel(subject: Subject) -> None:
    """Whatever the handler runs in is cancelled."""
    subject.outside.cancel()


ACTIONS: dict[str, Callable[[Subject], None]] = {
    "reset": reset,
    "stall": stall,
    "flood": flood,
    "fail": fail,
    "cancel": cancel,
}
"""By the name that the page gives; ``stop``, which ends the server, is none of a connection."""


def act(action: str, subject: Subject) -> str:
    """Break a connection.

    Returns:
        Why not, in a sentence; empty if it was done.
    """
    try:
        ACTIONS[action](subject)
    except anyio.WouldBlock:
        return "The send buffer of this connection is full: its page cannot be asked to send."
    except (anyio.ClosedResourceError, ConnectionError):
        return "This connection is just ending: choose another one."
    return ""
