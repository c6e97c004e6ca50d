"""The history that a room keeps for members that join later."""

from wsnursery.rooms import Position
from wsnursery.rooms._history import History, Publication, newest_that_fit

ROOM = object()


def publication(number: int, size: int = 1, room: object = ROOM, key: str | None = None):
    return Publication(room, Position("e", number), "x" * size, size, key)


def numbers(publications):
    return [publication.position.number for publication in publications]


def filled(history: History, *sizes: int) -> History:
    for number, size in enumerate(sizes, 1):
        history.append(publication(number, size))
    return history


def test_keeps_the_newest_messages():
    history = filled(History(3, 100), 1, 1, 1, 1)
    assert numbers(history.newest(10)) == [2, 3, 4]
    assert len(history) == 3
    assert history.bytes == 3


def test_keeps_the_newest_bytes():
    history = filled(History(10, 5), 2, 2, 2, 3)
    assert numbers(history.newest(10)) == [3, 4]
    assert history.bytes == 5


def test_a_message_larger_than_the_bound_leaves_no_hole():
    history = filled(History(10, 5), 1, 6)
    assert numbers(history.newest(10)) == []
    assert history.bytes == 0


def test_newest():
    history = filled(History(10, 100), 1, 1, 1)
    assert numbers(history.newest(2)) == [2, 3]
    assert numbers(history.newest(0)) == []


def test_after():
    history = filled(History(2, 100), 1, 1, 1)
    assert numbers(history.after(0)) == [2, 3]
    assert numbers(history.after(2)) == [3]
    assert numbers(history.after(3)) == []


def test_rewind_and_clear():
    history = filled(History(10, 100), 1, 2, 3, 4)
    history.rewind(2)
    assert (numbers(history.newest(10)), history.bytes) == ([1, 2], 3)
    history.rewind(9)
    assert len(history) == 2
    history.clear()
    assert (len(history), history.bytes) == (0, 0)


def test_newest_that_fit():
    three = [publication(number, size) for number, size in [(1, 1), (2, 5), (3, 2)]]
    assert numbers(newest_that_fit(three, 2, 100)) == [2, 3]
    assert numbers(newest_that_fit(three, 9, 6)) == [3]
    assert numbers(newest_that_fit(three, 0, 100)) == []


def test_tags():
    message = publication(2, key="a")
    assert message.shares_room(publication(1, key="b"))
    assert not message.shares_room(publication(1, room=object()))
    assert not message.shares_room("another tag")
    assert message.supersedes(publication(1, key="a"))
    assert not message.supersedes(publication(1, key="b"))
    assert not message.supersedes(publication(1, key="a", room=object()))
    assert not message.supersedes("another tag")
