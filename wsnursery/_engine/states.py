"""The states of one WebSocket, and the only place where they change. No I/O here.

Every event of a connection passes through `StateMachine.apply`. The table `TRANSITIONS` lists the
legal events of each state. A pair that is not in the table is illegal, and an illegal event changes
nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from wsnursery._errors import LocalProtocolError, RemoteProtocolError


class _Word(Enum):
    """An enumeration whose members are hashed for every message, without a Python call."""

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
    """This side has closed; the peer may still answer."""
    REJECTED = "rejected"
    """This side denied the handshake."""
    CLOSED = "closed"
    """The end: no more messages can be exchanged."""


class Transition(_Word):
    """The events of a WebSocket. The value completes "cannot ... while the WebSocket is ..."."""

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


_REMOTE = {Transition.CONNECT, Transition.MESSAGE_IN, Transition.DISCONNECT}
"""The events that the server causes. An illegal one is an error of the server."""

TRANSITIONS: Final[dict[State, dict[Transition, State]]] = {
    State.CONNECTING: {
        Transition.CONNECT: State.REQUESTED,
        Transition.DISCONNECT: State.CLOSED,
        Transition.CLOSE: State.REJECTED,
        Transition.REJECT: State.REJECTED,
        Transition.END: State.CLOSED,
    },
    State.REQUESTED: {
        Transition.ACCEPT: State.ACCEPTING,
        Transition.DISCONNECT: State.CLOSED,
        Transition.CLOSE: State.REJECTED,
        Transition.REJECT: State.REJECTED,
        Transition.END: State.CLOSED,
    },
    State.ACCEPTING: {
        Transition.ACCEPTED: State.OPEN,
        Transition.WITHDRAWN: State.REQUESTED,
        # A server may deliver messages before its send of the accept has returned.
        Transition.MESSAGE_IN: State.ACCEPTING,
        Transition.DISCONNECT: State.CLOSED,
        Transition.CLOSE: State.CLOSING,
        Transition.END: State.CLOSED,
    },
    State.OPEN: {
        Transition.MESSAGE_IN: State.OPEN,
        Transition.MESSAGE_OUT: State.OPEN,
        Transition.RECEIVE: State.OPEN,
        Transition.DISCONNECT: State.CLOSED,
        Transition.CLOSE: State.CLOSING,
        Transition.END: State.CLOSED,
    },
    State.CLOSING: {
        # Messages of the peer may cross our close, and are dropped. Our own accept may cross it,
        # too.
        Transition.MESSAGE_IN: State.CLOSING,
        Transition.ACCEPTED: State.CLOSING,
        Transition.CLOSE: State.CLOSING,
        Transition.DISCONNECT: State.CLOSED,
        Transition.END: State.CLOSED,
    },
    State.REJECTED: {
        # Servers differ in what they still deliver after a denial.
        Transition.CONNECT: State.REJECTED,
        Transition.CLOSE: State.REJECTED,
        Transition.DISCONNECT: State.CLOSED,
        Transition.END: State.CLOSED,
    },
    State.CLOSED: {
        # Some servers repeat the disconnect, and our close may cross it. Neither changes anything.
        Transition.CONNECT: State.CLOSED,
        Transition.MESSAGE_IN: State.CLOSED,
        Transition.DISCONNECT: State.CLOSED,
        Transition.ACCEPTED: State.CLOSED,
        Transition.WITHDRAWN: State.CLOSED,
        Transition.CLOSE: State.CLOSED,
        Transition.END: State.CLOSED,
    },
}

_ADVICE: Final[dict[tuple[Transition, State], str]] = {
    (Transition.MESSAGE_OUT, State.REQUESTED): "call `await ws.accept()` first",
    (Transition.MESSAGE_OUT, State.CONNECTING): "call `await ws.accept()` first",
    (Transition.MESSAGE_OUT, State.ACCEPTING): "wait until `await ws.accept()` has returned",
    (Transition.RECEIVE, State.REQUESTED): "call `await ws.accept()` first",
    (Transition.RECEIVE, State.CONNECTING): "call `await ws.accept()` first",
    (Transition.RECEIVE, State.ACCEPTING): "wait until `await ws.accept()` has returned",
    (Transition.ACCEPT, State.ACCEPTING): "call accept() once",
    (Transition.ACCEPT, State.OPEN): "it is accepted already; call accept() once",
    (Transition.ACCEPT, State.REJECTED): "the handshake was denied already",
    (
        Transition.REJECT,
        State.ACCEPTING,
    ): "the handshake is being accepted; use `await ws.close(code)`",
    (Transition.REJECT, State.OPEN): "it is accepted already; use `await ws.close(code)`",
    (Transition.REJECT, State.REJECTED): "the handshake was denied already; call reject() once",
}


class StateMachine:
    """The state machine of one connection, with the facts about its end."""

    __slots__ = ("close_taken", "facts", "state")

    def __init__(self) -> None:
        self.state: State = State.CONNECTING
        self.facts: tuple[int | None, str] | None = None
        """The first close code and reason, from either side."""
        self.close_taken: bool = False
        """The server has taken a close or a denial."""

    @property
    def code(self) -> int | None:
        """The first close code; `None` if there was none."""
        return None if self.facts is None else self.facts[0]

    @property
    def reason(self) -> str:
        """The first close reason; empty if there was none."""
        return "" if self.facts is None else self.facts[1]

    def allows(self, event: Transition) -> bool:
        """Whether this event is legal now."""
        return event in TRANSITIONS[self.state]

    def check(self, event: Transition) -> None:
        """Raise as `apply` does if this event is illegal now; change nothing."""
        if event not in TRANSITIONS[self.state]:
            raise _refusal(event, self.state)

    def apply(self, event: Transition, facts: tuple[int | None, str] | None = None) -> None:
        """Apply one event, or refuse it and change nothing.

        Args:
            event: The event that has happened, or that is about to be sent.
            facts: The code and the reason of a disconnect, or of a close that is being sent. The
                first ones are kept, because the echo of a close adds no information.

        Raises:
            LocalProtocolError: An event of the application is illegal now.
            RemoteProtocolError: An event of the server is illegal now.
        """
        before = self.state
        after = TRANSITIONS[before].get(event)
        if after is None:
            raise _refusal(event, before)
        self.state = after
        if self.facts is None:
            self.facts = facts


def _refusal(event: Transition, state: State) -> LocalProtocolError | RemoteProtocolError:
    if event in _REMOTE:
        return RemoteProtocolError(
            f"the server cannot {event.value} while the WebSocket is {state.value}"
        )
    advice = _ADVICE.get((event, state), "the connection is over")
    return LocalProtocolError(
        f"cannot {event.value} while the WebSocket is {state.value}: {advice}"
    )
