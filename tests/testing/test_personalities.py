"""The presets."""

import pytest

from wsnursery import testing


def test_names_are_unique():
    names = [rules.name for rules in testing.BASIC + testing.SERVERS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rules", testing.BASIC + testing.SERVERS, ids=lambda rules: rules.name)
def test_what_a_late_send_raises(rules):
    for make in (rules.late_send, rules.notified_send):
        if make is not None:
            first, second = make("websocket.send"), make("websocket.send")
            assert isinstance(first, Exception)
            assert first is not second


def test_the_foreign_exception_is_known_by_its_name():
    make = testing.FOREIGN_EXCEPTION.late_send
    assert make is not None
    cls = type(make("websocket.send"))
    assert (cls.__module__, cls.__name__) == ("websockets.exceptions", "ConnectionClosedError")
    assert not issubclass(cls, OSError)
