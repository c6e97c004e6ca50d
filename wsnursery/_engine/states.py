"""The states of one WebSocket, and the only place where they change. No I/O here.

Every event of a connection passes through `StateMachine.apply`. What is legal when is the table
`TRANSITIONS`: a pair that is missing there is illegal, and an illegal event changes nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from wsnursery._errors import LocalProtocolError, RemoteProtocolError


class _Word(Enum):
    """An enumeration whose members are looked up for every message: that must be no Python call."""

    if TYPE_CHECKING:

        def __hash__(self) -> int: ...
    else:
        __hash__ = object.__hash__


class State(_Word):
    """Where a WebSocket is between its handshake and its end."""

    CONNECTING = "connecting"
    """The server has not announced the handshake yet (``websocket.connect``)."""
    REQUESTED = "requested"
    """The handshake is waiting for `accept` or `reject`."""
    ACCEPTING = "accepting"
    """The server has been given the ``accept`` and has not taken it yet."""
    OPEN = "open"
    """Messages flow."""
    CLOSING = "closing"
    """This side said close; the peer may still answer."""
    REJECTED = "rejected"
    """This side denied the handshake."""
    CLOSED = "closed"
    """The end: nothing more can be exchanged."""


class Event(_Word):
    """What can happen to a WebSocket. The value reads as "cannot ... now"."""

    CONNECT = "connect"
    MESSAGE_IN = "deliver a message"
    DISCONNECT = "disconnect"
    ACCEPT = "accept"
    ACCEPTED = "finish accepting"
    WITHDRAWN = "withdraw accept"
    MESSAGE_OUT = "send"
    RECEIVE = "receive"
    CLOSE = "close"
    REJECT = "reject"
    END = "end"


_REMOTE = {Event.CONNECT, Event.MESSAGE_IN, Event.DISCONNECT}
"""The events that the server causes: an illegal one is its fault."""

TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.CONNECTING: {
        Event.CONNECT: State.REQUESTED,
        Event.DISCONNECT: State.CLOSED,
        Event.CLOSE: State.REJECTED,
        Event.REJECT: State.REJECTED,
        Event.END: State.CLOSED,
    },
    State.REQUESTED: {
        Event.ACCEPT: State.ACCEPTING,
        Event.DISCONNECT: State.CLOSED,
        Event.CLOSE: State.REJECTED,
        Event.REJECT: State.REJECTED,
        Event.END: State.CLOSED,
    },
    State.ACCEPTING: {
        Event.ACCEPTED: State.OPEN,
        Event.WITHDRAWN: State.REQUESTED,
        # A server may deliver before its accept call has returned.
        Event.MESSAGE_IN: State.ACCEPTING,
        Event.DISCONNECT: State.CLOSED,
        Event.CLOSE: State.CLOSING,
        Event.END: State.CLOSED,
    },
    State.OPEN: {
        Event.MESSAGE_IN: State.OPEN,
        Event.MESSAGE_OUT: State.OPEN,
        Event.RECEIVE: State.OPEN,
        Event.DISCONNECT: State.CLOSED,
        Event.CLOSE: State.CLOSING,
        Event.END: State.CLOSED,
    },
    State.CLOSING: {
        # The peer's messages may cross our close; they are dropped. So may our own accept.
        Event.MESSAGE_IN: State.CLOSING,
        Event.ACCEPTED: State.CLOSING,
        Event.CLOSE: State.CLOSING,
        Event.DISCONNECT: State.CLOSED,
        Event.END: State.CLOSED,
    },
    State.REJECTED: {
        # Servers differ in what they still deliver after a denial.
        Event.CONNECT: State.REJECTED,
        Event.CLOSE: State.REJECTED,
        Event.DISCONNECT: State.CLOSED,
        Event.END: State.CLOSED,
    },
    State.CLOSED: {
        # Some servers repeat the disconnect, and a close of ours may cross it: both change nothing.
        Event.CONNECT: State.CLOSED,
        Event.MESSAGE_IN: State.CLOSED,
        Event.DISCONNECT: State.CLOSED,
        Event.ACCEPTED: State.CLOSED,
        Event.WITHDRAWN: State.CLOSED,
        Event.CLOSE: State.CLOSED,
        Event.END: State.CLOSED,
    },
}

_ADVICE: Final[dict[tuple[Event, State], str]] = {
    (Event.MESSAGE_OUT, State.REQUESTED): "call `await ws.accept()` first",
    (Event.MESSAGE_OUT, State.CONNECTING): "call `await ws.accept()` first",
    (Event.MESSAGE_OUT, State.ACCEPTING): "wait until `await ws.accept()` has returned",
    (Event.RECEIVE, State.REQUESTED): "call `await ws.accept()` first",
    (Event.RECEIVE, State.CONNECTING): "call `await ws.accept()` first",
    (Event.RECEIVE, State.ACCEPTING): "wait until `await ws.accept()` has returned",
    (Event.ACCEPT, State.ACCEPTING): "call accept() once",
    (Event.ACCEPT, State.OPEN): "it is accepted already; call accept() once",
    (Event.ACCEPT, State.REJECTED): "the handshake was denied already",
    (Event.REJECT, State.ACCEPTING): "the handshake is being accepted; use `await ws.close(code)`",
    (Event.REJECT, State.OPEN): "it is accepted already; use `await ws.close(code)`",
    (Event.REJECT, State.REJECTED): "the handshake was denied already; call reject() once",
}


class StateMachine:
    """The state machine of one connection, with the facts about its end."""

    __slots__ = ("close_taken", "facts", "state")

    def __init__(self) -> None:
        self.state: State = State.CONNECTING
        self.facts: tuple[int | None, str] | None = None
        """The close code and reason that were said first, by either side."""
        self.close_taken: bool = False
        """The server has taken a close or a denial."""

    @property
    def code(self) -> int | None:
        """The close code that was said first; `None` if none was."""
        return None if self.facts is None else self.facts[0]

    @property
    def reason(self) -> str:
        """The close reason that was said first; empty if none was."""
        return "" if self.facts is None else self.facts[1]

    def allows(self, event: Event) -> bool:
        """Whether `apply` would take this event now."""
        return event in TRANSITIONS[self.state]

    def check(self, event: Event) -> None:
        """Raise what `apply` would raise now, and change nothing."""
        if event not in TRANSITIONS[self.state]:
            raise _refusal(event, self.state)

    def apply(self, event: Event, facts: tuple[int | None, str] | None = None) -> None:
        """Take one event, or refuse it and change nothing.

        Args:
            event: What happened or is about to be sent.
            facts: With a close that is being sent, or a disconnect: its code and reason. The first
                are kept, for the echo of a close is not news.

        Raises:
            LocalProtocolError: The application may not do this now.
            RemoteProtocolError: The server may not do this now.
        """
        before = self.state
        after = TRANSITIONS[before].get(event)
        if after is None:
            raise _refusal(event, before)
        self.state = after
        if self.facts is None:
            self.facts = facts


def _refusal(event: Event, state: State) -> LocalProtocolError | RemoteProtocolError:
    if event in _REMOTE:
        return RemoteProtocolError(
            f"the server cannot {event.value} while the WebSocket is {state.value}"
        )
    advice = _ADVICE.get((event, state), "the connection is over")
    return LocalProtocolError(
        f"cannot {event.value} while the WebSocket is {state.value}: {advice}"
    )
