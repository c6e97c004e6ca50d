"""What the block raises: the whole decision table, without a connection."""

import itertools
import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsnursery import WebSocketDisconnected
from wsnursery._engine.outcome import Raised, Raiser, decide, leaves, without
from wsnursery._errors import attribute, is_attributed

HERE, THERE = object(), object()


class Cancelled(BaseException):
    """The backend's cancellation."""


def own(code: int = 1000) -> WebSocketDisconnected:
    return attribute(WebSocketDisconnected(code), HERE)


def is_own(exc: BaseException) -> bool:
    return is_attributed(exc, HERE)


def is_cancellation(exc: BaseException) -> bool:
    return isinstance(exc, Cancelled)


FACTS = own(1001)
"""The facts of the end, as the block would raise them."""


def outcome(
    *failures: Raised,
    cancellation: BaseException | None = None,
    facts: WebSocketDisconnected | None = FACTS,
    owed: bool = False,
    noted: bool = True,
) -> BaseException | None:
    return decide(
        failures,
        cancellation=cancellation,
        own=None if facts is None else lambda: facts,
        owed=owed,
        noted=noted,
        is_own=is_own,
        is_cancellation=is_cancellation,
    )


def body(error: BaseException) -> Raised:
    return Raised(Raiser.BODY, error)


def child(error: BaseException) -> Raised:
    return Raised(Raiser.CHILD, error)


def connection(error: BaseException) -> Raised:
    return Raised(Raiser.CONNECTION, error)


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("a group of the user's own", errors)


def members(error: BaseException | None) -> Sequence[BaseException]:
    assert isinstance(error, BaseExceptionGroup)
    assert error.message == "unhandled errors in the tasks of a WebSocket"
    return error.exceptions


# contract: X6
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("source", Raiser)
@pytest.mark.parametrize("deep", [False, True])
def test_an_interrupt_comes_before_everything(
    interrupt: BaseException, source: Raiser, deep: bool
) -> None:
    error = group(ValueError(), group(own(), interrupt)) if deep else interrupt
    got = outcome(
        body(ValueError()),
        Raised(source, error),
        child(KeyError()),
        cancellation=Cancelled(),
        owed=True,
    )
    assert got is interrupt


def test_of_two_interrupts_the_first() -> None:
    first, second = SystemExit(), KeyboardInterrupt()
    assert outcome(child(group(first, second)), body(second)) is first


# contract: X1
def test_only_the_body_failed() -> None:
    error = ValueError("x")
    assert outcome(body(error), facts=None, noted=False) is error
    assert not hasattr(error, "__notes__")


# contract: X1, X3
def test_a_group_of_the_users_own_keeps_its_form() -> None:
    error = group(ValueError(), group(KeyError()))
    assert outcome(body(error)) is error


def test_only_something_without_a_caller_failed() -> None:
    error = ValueError()
    assert outcome(connection(error)) is error


# contract: X2
def test_a_child_failed() -> None:
    error = ValueError()
    assert members(outcome(child(error))) == (error,)


# contract: X2
@pytest.mark.parametrize("sources", [*itertools.product(Raiser, repeat=2)], ids=repr)
def test_several_failed_in_the_order_in_which_they_did(sources: tuple[Raiser, Raiser]) -> None:
    errors = [ValueError("first"), ValueError("second")]
    failures = [Raised(source, error) for source, error in zip(sources, errors, strict=True)]
    got = outcome(*failures)
    assert list(members(got)) == errors
    assert isinstance(got, ExceptionGroup)


# contract: X2
def test_own_and_cancellations_are_taken_out_of_the_childrens_errors() -> None:
    error, nested, bare = ValueError(), KeyError(), TypeError()
    got = members(
        outcome(
            body(Cancelled()),
            child(own()),
            child(group(own(), error, group(Cancelled(), nested))),
            child(bare),
            child(group(own(), Cancelled())),
        )
    )
    assert len(got) == 2
    assert [leaf for member in got for leaf in leaves(member)] == [error, nested, bare]
    assert got[1] is bare


# contract: X2, X4
def test_the_bodys_part_of_a_group_keeps_what_is_not_own() -> None:
    error = ValueError()
    got = outcome(body(group(own(), error)))
    assert isinstance(got, ExceptionGroup)
    assert got.message == "a group of the user's own"
    assert got.exceptions == (error,)


# contract: X5
def test_cancelled_from_outside() -> None:
    cancellation = Cancelled()
    assert outcome(cancellation=cancellation) is cancellation
    assert outcome(body(Cancelled()), cancellation=cancellation, owed=True) is cancellation
    assert outcome(body(own()), child(own()), cancellation=cancellation) is cancellation


# contract: X5
def test_errors_come_before_a_cancellation() -> None:
    error = ValueError()
    assert outcome(body(error), cancellation=Cancelled()) is error
    assert members(outcome(child(error), cancellation=Cancelled())) == (error,)


# contract: X3
def test_own_escaped_from_the_body() -> None:
    escaped = own(4001)
    assert outcome(body(escaped)) is escaped
    assert outcome(body(escaped), owed=True) is escaped


# contract: X3
def test_own_escaped_from_the_body_in_a_group() -> None:
    assert outcome(body(group(own(4001)))) is FACTS
    assert outcome(body(group(Cancelled(), group(own(4001), own(4001))))) is FACTS


# contract: D4
def test_own_escaped_from_a_child() -> None:
    assert outcome(child(own())) is None
    assert outcome(child(group(own()))) is None
    assert outcome(connection(own())) is None


# contract: D5
def test_the_end_cut_the_body_short_or_lost_messages() -> None:
    assert outcome(owed=True) is FACTS
    assert outcome(body(Cancelled()), child(own()), owed=True) is FACTS


# contract: D5
def test_the_body_ended_by_itself() -> None:
    assert outcome() is None
    assert outcome(facts=None) is None
    assert outcome(body(Cancelled())) is None
    assert outcome(facts=None, owed=True) is None


# contract: X7
def test_the_end_of_another_connection_is_an_error_of_the_application() -> None:
    foreign = attribute(WebSocketDisconnected(1000), THERE)
    assert outcome(body(foreign)) is foreign
    assert members(outcome(child(foreign))) == (foreign,)
    unattributed = WebSocketDisconnected(1000)
    assert outcome(body(unattributed)) is unattributed


# contract: X4
def test_an_error_carries_a_note_of_the_end() -> None:
    error = ValueError()
    assert outcome(body(error)) is error
    assert error.__notes__ == [f"meanwhile {FACTS}"]


# contract: X4
def test_a_group_carries_a_note_of_the_end() -> None:
    error = ValueError()
    got = outcome(child(error))
    assert got is not None
    assert got.__notes__ == [f"meanwhile {FACTS}"]
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("noted", [False, True])
def test_no_note_without_need(noted: bool) -> None:
    error = ValueError()
    assert outcome(body(error), noted=noted, facts=None if noted else FACTS) is error
    assert not hasattr(error, "__notes__")


# contract: X4
@pytest.mark.parametrize("link", ["__context__", "__cause__"])
def test_no_note_where_the_context_says_it(link: str) -> None:
    error, between = ValueError(), KeyError()
    setattr(error, link, between)
    setattr(between, link, own())
    assert outcome(body(error)) is error
    assert not hasattr(error, "__notes__")


def test_a_context_of_something_else_says_nothing() -> None:
    error = ValueError()
    error.__context__ = KeyError()
    outcome(body(error))
    assert error.__notes__ == [f"meanwhile {FACTS}"]


def test_a_context_that_runs_in_a_circle() -> None:
    error, other = ValueError(), KeyError()
    error.__cause__, other.__cause__ = other, error
    assert outcome(body(error)) is error
    assert error.__notes__ == [f"meanwhile {FACTS}"]


def test_an_error_that_cannot_be_changed() -> None:
    class FrozenError(Exception):
        def add_note(self, note: str) -> None:
            raise AttributeError

    error = FrozenError()
    assert outcome(body(error)) is error


def test_leaves() -> None:
    one, two, three = ValueError(), own(), Cancelled()
    assert leaves(one) == [one]
    assert leaves(group(one, group(two, group(three)))) == [one, two, three]


def test_without() -> None:
    error = ValueError()
    assert without(error, is_own) is error
    assert without(own(), is_own) is None
    whole = group(error, group(KeyError()))
    assert without(whole, is_own) is whole
    assert without(group(own(), group(own())), is_own) is None
    rest = without(group(own(), group(own(), error)), is_own)
    assert rest is not None
    assert leaves(rest) == [error]


def test_what_is_left_of_a_group_keeps_its_notes_and_its_context() -> None:
    whole = group(own(), ValueError())
    whole.add_note("a note")
    whole.__context__ = KeyError()
    rest = without(whole, is_own)
    assert isinstance(rest, BaseExceptionGroup)
    assert rest.__notes__ == ["a note"]
    assert rest.__context__ is whole.__context__


MAKERS: dict[str, Callable[[], BaseException]] = {
    "error": ValueError,
    "own": own,
    "cancelled": Cancelled,
}
LEAF = st.sampled_from(sorted(MAKERS)).map(lambda kind: MAKERS[kind]())
TREE = st.recursive(
    LEAF, lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda e: group(*e))
)
FAILURES = st.lists(st.builds(Raised, st.sampled_from(Raiser), TREE), max_size=4)


# contract: X2, X3, D5
@settings(deadline=None)
@given(failures=FAILURES, cancelled=st.booleans(), owed=st.booleans(), ended=st.booleans())
def test_no_error_is_lost_reordered_or_doubled(
    failures: list[Raised], cancelled: bool, owed: bool, ended: bool
) -> None:
    everything = [leaf for failure in failures for leaf in leaves(failure.error)]
    errors = [leaf for leaf in everything if isinstance(leaf, ValueError)]
    cancellation = Cancelled() if cancelled else None
    got = outcome(*failures, cancellation=cancellation, owed=owed, facts=FACTS if ended else None)
    if errors:
        assert got is not None
        assert leaves(got) == errors
    elif cancelled:
        assert got is cancellation
    else:
        assert got is None or is_own(got)


def test_every_row_of_the_docstring_is_there() -> None:
    """The decision table must stay readable as a table."""
    from wsnursery._engine import outcome as _outcome

    assert len(re.findall(r"^=+  =+$", _outcome.__doc__ or "", re.MULTILINE)) == 3
