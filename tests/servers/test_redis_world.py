"""The account that the tests of faults rely on: what it accepts and what it refuses."""

import pytest

from tests.servers._redis_world import World
from wsnursery.rooms import Position


class Seen:
    """A member that has seen these messages, as in ``e1 A0``."""

    def __init__(self, *messages):
        pairs = [message.split() for message in messages]
        self.positions = [Position(place[0], int(place[1:])) for place, _ in pairs]
        self.texts = [text for _, text in pairs]
        self.reported = 0


def account(*members):
    here = World(None)
    here.members += members
    here.sent += {text for member in members for text in member.texts}
    return here


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([["e1 A0", "e1 A0"]], "a position came twice"),
        ([["e2 A0", "e1 A1"]], "the numbers do not grow"),
        ([["e1 A0", "f1 A1", "e2 A2"]], "an epoch came back"),
        ([["e1 A0", "f1 A1"], ["f1 A1", "e1 A0"]], "the orders of the epochs differ"),
        ([["e1 A0", "e2 B0"], ["e1 B0", "e2 A0"]], "a position means two messages"),
        ([["e1 A0", "e2 B0"], ["f2 B0", "g1 A0"]], "the orders differ"),
        ([["e1 A1", "e2 A0"]], "the order of a publisher is not kept"),
    ],
)
def test_what_breaks_the_order(members, complaint):
    with pytest.raises(AssertionError, match=complaint):
        account(*[Seen(*messages) for messages in members]).check_order()


def test_parts_of_one_sequence_are_in_order():
    here = account(
        Seen("e1 A0", "e2 B0", "f3 A1"), Seen("e1 A0", "f2 B0", "f3 A1"), Seen("f3 A1", "f4 B1")
    )
    here.check_order()
    assert here.numbered_again() == set()


def test_what_was_lost_and_numbered_again_has_two_places():
    here = account(Seen("e1 A0", "f1 B0", "f2 A0"), Seen("f1 B0", "f2 A0"))
    here.check_order()
    assert here.numbered_again() == {"A0"}
    with pytest.raises(AssertionError, match="a message came twice"):
        here.check_nothing_missing()


@pytest.mark.parametrize("second", [("f1 A0",), ("e1 A0", "f1 A0")])
def test_the_second_number_may_be_the_same(second):
    """As the first one, in an epoch that does not continue the other."""
    here = account(Seen("e1 A0", "f1 A0"), Seen(*second))
    assert here.numbered_again() == {"A0"}
