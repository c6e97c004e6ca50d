"""The state machine: every event in every state, and runs of events."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsnursery import LocalProtocolError, RemoteProtocolError
from wsnursery._engine.states import TRANSITIONS, State, StateMachine, Transition
from wsnursery.transports import Accept, Close, Connect, Disconnect, Reject

# The next state for every event in every state; a dash is an illegal pair. It is written by hand,
# to check the table in the module.
GRID = """
             CONNECTING REQUESTED ACCEPTING OPEN    CLOSING REJECTED CLOSED
CONNECT      REQUESTED  -         -         -       -       REJECTED CLOSED
MESSAGE_IN   -          -         ACCEPTING OPEN    CLOSING -        CLOSED
DISCONNECT   CLOSED     CLOSED    CLOSED    CLOSED  CLOSED  CLOSED   CLOSED
ACCEPT       -          ACCEPTING -         -       -       -        -
ACCEPTED     -          -         OPEN      -       CLOSING -        CLOSED
WITHDRAWN    -          -         REQUESTED -       -       -        CLOSED
MESSAGE_OUT  -          -         -         OPEN    -       -        -
RECEIVE      -          -         -         OPEN    -       -        -
CLOSE        REJECTED   REJECTED  CLOSING   CLOSING CLOSING REJECTED CLOSED
REJECT       REJECTED   REJECTED  -         -       -       -        -
END          CLOSED     CLOSED    CLOSED    CLOSED  CLOSED  CLOSED   CLOSED
"""

BY_SERVER = {Transition.CONNECT, Transition.MESSAGE_IN, Transition.DISCONNECT}


def _read_grid() -> dict[tuple[State, Transition], State | None]:
    header, *rows = (line.split() for line in GRID.strip().splitlines())
    return {
        (State[state], Transition[row[0]]): None if cell == "-" else State[cell]
        for row in rows
        for state, cell in zip(header, row[1:], strict=True)
    }


EXPECTED = _read_grid()
LEGAL = [(state, event, after) for (state, event), after in EXPECTED.items() if after]
ILLEGAL = [pair for pair, after in EXPECTED.items() if after is None]


def in_state(state: State) -> StateMachine:
    protocol = StateMachine()
    protocol.state = state
    return protocol


def name(value: object) -> str:
    return value.name if isinstance(value, State | Transition) else str(value)


def test_the_grid_has_every_pair() -> None:
    assert set(EXPECTED) == {(state, event) for state in State for event in Transition}
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("state", "event", "after"), LEGAL, ids=name)
def test_a_legal_event(state: State, event: Transition, after: State) -> None:
    protocol = in_state(state)
    assert protocol.allows(event)
    protocol.apply(event)
    assert protocol.state is after
    assert protocol.facts is None


@pytest.mark.parametrize(("state", "event"), ILLEGAL, ids=name)
def test_an_illegal_event_changes_nothing(state: State, event: Transition) -> None:
    protocol = in_state(state)
    assert not protocol.allows(event)
    kind = RemoteProtocolError if event in BY_SERVER else LocalProtocolError
    with pytest.raises(kind) as caught:
        protocol.apply(event, (1000, "not taken"))
    assert type(caught.value) is kind
    assert f"cannot {event.value} while the WebSocket is {state.value}" in str(caught.value)
    assert protocol.state is state
    assert protocol.facts is None


@pytest.mark.parametrize(
    ("state", "event", "advice"),
    [
        ("REQUESTED", "MESSAGE_OUT", "call `await ws.accept()` first"),
        ("CONNECTING", "MESSAGE_OUT", "call `await ws.accept()` first"),
        ("ACCEPTING", "MESSAGE_OUT", "wait until `await ws.accept()` has returned"),
        ("REQUESTED", "RECEIVE", "call `await ws.accept()` first"),
        ("CONNECTING", "RECEIVE", "call `await ws.accept()` first"),
        ("ACCEPTING", "RECEIVE", "wait until `await ws.accept()` has returned"),
        ("ACCEPTING", "ACCEPT", "call accept() once"),
        ("OPEN", "ACCEPT", "it is accepted already; call accept() once"),
        ("REJECTED", "ACCEPT", "the handshake was denied already"),
        ("ACCEPTING", "REJECT", "the handshake is being accepted; use `await ws.close(code)`"),
        ("OPEN", "REJECT", "it is accepted already; use `await ws.close(code)`"),
        ("REJECTED", "REJECT", "the handshake was denied already; call reject() once"),
        ("CLOSED", "MESSAGE_OUT", "the connection is over"),
        ("CLOSING", "REJECT", "the connection is over"),
        ("CLOSED", "ACCEPT", "the connection is over"),
    ],
)
def test_a_refusal_says_the_right_call(state: str, event: str, advice: str) -> None:
    with pytest.raises(LocalProtocolError, match=f": {re.escape(advice)}$"):
        in_state(State[state]).apply(Transition[event])


def test_a_new_connection() -> None:
    protocol = StateMachine()
    assert protocol.state is State.CONNECTING
    assert protocol.code is None
    assert protocol.reason == ""


# contract: D6
@pytest.mark.parametrize("first", [(1000, ""), (1006, ""), (None, ""), (4001, "bye")])
def test_the_first_facts_are_kept(first: tuple[int | None, str]) -> None:
    protocol = in_state(State.OPEN)
    protocol.apply(Transition.DISCONNECT, first)
    protocol.apply(Transition.DISCONNECT, (1011, "later"))
    protocol.apply(Transition.CLOSE, (1001, "much later"))
    assert (protocol.code, protocol.reason) == first


# contract: D6
def test_an_echo_of_your_own_close_is_no_news() -> None:
    protocol = in_state(State.OPEN)
    protocol.apply(Transition.CLOSE)
    assert protocol.facts is None
    protocol.apply(Transition.CLOSE, (4000, "mine"))
    protocol.apply(Transition.DISCONNECT, (1005, ""))
    assert (protocol.code, protocol.reason) == (4000, "mine")


def test_once_closed_always_closed() -> None:
    after = {EXPECTED[State.CLOSED, event] for event in Transition}
    assert after == {State.CLOSED, None}


def test_every_state_can_be_reached_and_can_end() -> None:
    reached = {State.CONNECTING}
    while more := {after for state, _, after in LEGAL if state in reached and after not in reached}:
        reached |= more
    assert reached == set(State)
    for state in State:
        for event in (Transition.DISCONNECT, Transition.END, Transition.CLOSE):
            assert EXPECTED[state, event] is not None


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(Transition),
            st.none() | st.tuples(st.none() | st.integers(1000, 4999), st.text(max_size=3)),
        ),
        max_size=30,
    )
)
def test_any_run_of_events(
    events: list[tuple[Transition, tuple[int | None, str] | None]],
) -> None:
    protocol = StateMachine()
    state, said = State.CONNECTING, None
    for event, facts in events:
        after = EXPECTED[state, event]
        if after is None:
            with pytest.raises((LocalProtocolError, RemoteProtocolError)):
                protocol.apply(event, facts)
        else:
            protocol.apply(event, facts)
            state = after
            said = said or facts
        assert protocol.state is state
        assert protocol.facts == said
    code, reason = said or (None, "")
    assert (protocol.code, protocol.reason) == (code, reason)


@pytest.mark.parametrize(
    "event",
    [
        Connect(),
        Disconnect(),
        Disconnect(1000, "x"),
        Accept(None, ()),
        Reject(403, (), b""),
        Close(1000, ""),
    ],
    ids=repr,
)
def test_events_are_frozen_values(event: object) -> None:
    same = type(event)(*(getattr(event, field) for field in type(event).__match_args__))  # type: ignore[attr-defined]
    assert same == event
    assert hash(same) == hash(event)
    with pytest.raises((AttributeError, TypeError)):
        event.code = 1001  # type: ignore[attr-defined]
