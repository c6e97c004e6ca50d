"""Where a client resumes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnursery.rooms import Position


def test_written_and_read():
    position = Position("a1B_-", 42)
    assert str(position) == "a1B_-.42"
    assert Position.parse(str(position)) == position
    assert Position.parse("e.0") == Position("e", 0)


@pytest.mark.parametrize(
    "text",
    ["", ".", "e", "e.", ".1", "e.-1", "e.²", "e.1.2", "e 1", "e.1\n", "é.1", "e." + "9" * 200],
)
def test_rubbish_is_no_position(text):
    assert Position.parse(text) is None


@given(st.text())
def test_never_raises(text):
    position = Position.parse(text)
    assert position is None or str(Position.parse(str(position))) == str(position)
