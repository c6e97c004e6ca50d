"""The inbox and the outbox: limits, order, counters. Each is compared with a plain list."""

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wsnursery import WebSocketStatistics
from wsnursery._engine.inbox import Inbox
from wsnursery._engine.outbox import Outbox, SendTicket
from wsnursery._engine.payload import size_of
from wsnursery.transports import Accept, Close, Outgoing, Reject

MESSAGE = st.text(max_size=4) | st.binary(max_size=4)


ERROR = ValueError("the server's own")


class Sleeping:
    """A call that waits for a delivery."""

    is_asleep = True

    def __init__(self) -> None:
        self.woken = 0

    async def wait(self) -> None:
        raise NotImplementedError

    def wake(self) -> None:
        self.woken += 1


def waited_for(delivery: SendTicket) -> Sleeping:
    waiter = delivery.waiter = Sleeping()
    return waiter


@given(MESSAGE)
def test_the_size_is_that_on_the_wire(message: str | bytes) -> None:
    data = message.encode() if isinstance(message, str) else message
    assert size_of(message) == len(data)


@pytest.mark.parametrize(
    ("message", "size"), [("", 0), (b"", 0), ("abc", 3), (b"\xff\x00", 2), ("é", 2), ("😀", 4)]
)
def test_sizes(message: str | bytes, size: int) -> None:
    assert size_of(message) == size


# contract: R2
@pytest.mark.parametrize(
    ("messages", "size", "factor", "room"),
    [
        (0, 0, 1, True),
        (2, 1, 1, True),
        (3, 1, 1, False),
        (3, 1, 2, True),
        (5, 1, 2, True),
        (6, 1, 2, False),
        (1, 9, 1, True),
        (1, 10, 1, False),
        (1, 10, 2, True),
        (2, 10, 2, False),
    ],
)
def test_the_room_of_the_inbox(messages: int, size: int, factor: int, room: bool) -> None:
    inbox = Inbox(max_messages=3, max_bytes=10)
    for _ in range(messages):
        inbox.put(b"x" * size, size)
    assert inbox.has_room(factor=factor) is room


# contract: R2
@pytest.mark.parametrize(
    ("limit", "messages", "size", "worth"),
    [
        (1, 0, 1, True),
        (1, 1, 1, False),
        (2, 1, 1, True),
        (3, 2, 1, True),
        (4, 3, 1, True),
        (8, 7, 1, False),
        (8, 6, 1, True),
        (16, 13, 1, False),
        (16, 12, 1, True),
        (8, 5, 20, False),
    ],
)
def test_when_an_inbox_is_worth_filling(limit: int, messages: int, size: int, worth: bool) -> None:
    inbox = Inbox(max_messages=limit, max_bytes=100)
    for _ in range(messages):
        inbox.put(b"x" * size, size)
    assert inbox.is_worth_filling is worth


# contract: R2
def test_room_for_more_messages_is_no_room_for_more_bytes() -> None:
    inbox = Inbox(max_messages=1, max_bytes=10)
    inbox.put(b"x", 1)
    assert inbox.has_room(more=1)
    inbox.put(b"x" * 9, 9)
    assert not inbox.has_room(more=5)
    assert inbox.has_room(factor=2, more=1)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_the_inbox_is_a_queue_that_counts(data: st.DataObject) -> None:
    # contract: R1
    inbox = Inbox(3, 10)
    model: list[str | bytes] = []
    most = 0
    for _ in range(data.draw(st.integers(0, 20))):
        what = data.draw(st.sampled_from(["put", "put", "take", "clear"]))
        if what == "put":
            message = data.draw(MESSAGE)
            inbox.put(message, size_of(message))
            model.append(message)
        elif what == "clear":
            inbox.clear()
            model.clear()
        elif model:
            assert inbox.take() == model.pop(0)
        most = max(most, len(model))
        assert len(inbox) == len(model)
        assert inbox.bytes == sum(map(size_of, model))
        assert inbox.high_water == most
        assert inbox.has_room() is (len(model) < 3 and inbox.bytes < 10)


@pytest.mark.parametrize(
    ("event", "is_message"),
    [
        ("", True),
        (b"", True),
        ("x", True),
        (None, False),
        (Accept(None, ()), False),
        (Reject(403, (), b""), False),
        (Close(1000, ""), False),
    ],
    ids=repr,
)
def test_what_can_be_lost(event: Outgoing | None, is_message: bool) -> None:
    delivery = SendTicket(event)
    assert delivery.is_message is is_message
    assert not any((delivery.done, delivery.lost, delivery.withdrawn))


@pytest.mark.parametrize(
    ("end", "lost", "error"),
    [
        (lambda delivery: delivery.finish(), False, None),
        (lambda delivery: delivery.finish(ERROR), False, "ERROR"),
        (lambda delivery: delivery.lose(), True, None),
    ],
)
@pytest.mark.parametrize("with_waiter", [False, True])
def test_the_end_of_a_delivery_wakes_the_waiting_call(
    end: Callable[[SendTicket], None], lost: bool, error: str | None, with_waiter: bool
) -> None:
    delivery = SendTicket("x", 1)
    waiter = waited_for(delivery) if with_waiter else Sleeping()
    end(delivery)
    assert delivery.done
    assert delivery.lost is lost
    assert delivery.error is (ERROR if error else None)
    assert waiter.woken == with_waiter


# contract: S5
def test_the_room_of_the_outbox() -> None:
    outbox = Outbox(max_messages=2, max_bytes=10)
    assert outbox.has_room(0)
    assert outbox.has_room(10)
    assert not outbox.has_room(11)
    outbox.put(SendTicket("x" * 6, 6))
    assert outbox.has_room(4)
    assert not outbox.has_room(5)
    outbox.put(SendTicket("", 0))
    assert not outbox.has_room(0)
    assert outbox.take() is not None
    assert outbox.has_room(10)


def test_what_is_no_message_takes_no_room() -> None:
    outbox = Outbox(1, 10)
    for event in (Accept(None, ()), None, Close(1000, "")):
        outbox.put(SendTicket(event))
    assert len(outbox) == 0
    assert outbox.has_room(10)
    assert outbox.high_water == 0


# contract: S3
def test_a_fence_and_an_accept_can_be_withdrawn() -> None:
    outbox = Outbox(10, 10)
    fence, accept, message = SendTicket(None), SendTicket(Accept(None, ())), SendTicket("x", 1)
    for delivery in (fence, accept, message):
        outbox.put(delivery)
    outbox.withdraw(fence)
    outbox.withdraw(accept)
    assert fence.withdrawn
    assert accept.withdrawn
    assert len(outbox) == 1
    assert outbox.take() is message


# contract: S3
def test_what_is_withdrawn_is_never_begun() -> None:
    outbox = Outbox(10, 10)
    deliveries = [SendTicket("x", 1) for _ in range(5)]
    for delivery in deliveries:
        outbox.put(delivery)
    outbox.withdraw(deliveries[0])
    outbox.withdraw(deliveries[2])
    assert len(outbox) == 3
    begun = [outbox.take() for _ in range(4)]
    assert begun == [deliveries[1], deliveries[3], deliveries[4], None]


# contract: C1
@pytest.mark.parametrize("event", [Close(1000, ""), Reject(403, (), b"")])
def test_a_close_is_owed_and_stays(event: Outgoing) -> None:
    outbox = Outbox(10, 10)
    delivery = SendTicket(event)
    outbox.put(delivery)
    outbox.withdraw(delivery)
    assert not delivery.withdrawn
    assert outbox.take() is delivery


def put_and_withdraw(outbox: Outbox) -> None:
    withdrawn = SendTicket("x", 1)
    outbox.put(withdrawn)
    outbox.withdraw(withdrawn)


def test_the_oldest_that_matches_is_discarded() -> None:
    outbox = Outbox(10, 100)
    tags = [None, "red", "blue", "red"]
    deliveries = [SendTicket("x", 1, tag) for tag in tags]
    for delivery in deliveries:
        outbox.put(delivery)
    assert outbox.discard_oldest(lambda tag: tag == "red")
    assert (len(outbox), outbox.bytes) == (3, 3)
    assert outbox.discard_oldest(lambda tag: True)
    assert not outbox.discard_oldest(lambda tag: tag == "green")
    begun = [outbox.take() for _ in range(3)]
    assert begun == [deliveries[0], deliveries[3], None]


def test_the_calls_that_wait() -> None:
    outbox = Outbox(10, 10)
    deliveries = [SendTicket("a", 1), SendTicket(None), SendTicket("b", 1)]
    for delivery in deliveries:
        outbox.put(delivery)
    assert outbox.waiting_calls == 0
    waited_for(deliveries[0])
    waited_for(deliveries[1])
    assert outbox.waiting_calls == 2
    assert outbox.take() is deliveries[0]
    assert outbox.waiting_calls == 1


@pytest.mark.parametrize("kept", [0, 1, 4])
@pytest.mark.parametrize("before", [0, 1, 1000])
def test_withdrawing_many_keeps_few_empty_places(kept: int, before: int) -> None:
    """A loop that times out on a stalled peer must not fill the memory, whatever came before.

    The tombstones are removed together, as soon as they are the majority.
    """
    outbox = Outbox(10, 10)
    for _ in range(before):
        for _ in range(3):
            outbox.put(SendTicket("x", 1))
        put_and_withdraw(outbox)
        assert [outbox.take() is None for _ in range(4)] == [False, False, False, True]
    deliveries = [SendTicket("kept", 1) for _ in range(kept)]
    for delivery in deliveries:
        outbox.put(delivery)
    for _ in range(3):
        for empty in [*range(1, kept + 1), 0]:
            put_and_withdraw(outbox)
            assert len(outbox.queue) == kept + empty
    assert [outbox.take() for _ in range(kept + 1)] == [*deliveries, None]


class OutboxAgainstAList(RuleBasedStateMachine):
    """Any sequence of calls: first in first out, correct counters, nothing lost or duplicated."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(1000, 10**6)
        self.waiting: list[SendTicket] = []
        self.most = 0

    @property
    def messages(self) -> list[SendTicket]:
        return [delivery for delivery in self.waiting if delivery.is_message]

    @rule(event=MESSAGE | st.none() | st.builds(Close, st.just(1000), st.just("")))
    def put(self, event: Outgoing | None) -> None:
        size = size_of(event) if isinstance(event, str | bytes) else 0
        delivery = SendTicket(event, size)
        self.outbox.put(delivery)
        self.waiting.append(delivery)
        self.most = max(self.most, len(self.messages))

    @rule()
    def take(self) -> None:
        expected = self.waiting.pop(0) if self.waiting else None
        assert self.outbox.take() is expected

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        delivery = data.draw(st.sampled_from(self.waiting))
        owed = isinstance(delivery.event, Close)
        self.outbox.withdraw(delivery)
        assert delivery.withdrawn is delivery.done is not owed
        if not owed:
            self.waiting.remove(delivery)

    @rule()
    def drop_messages(self) -> None:
        assert self.outbox.drop_messages() == self.messages
        self.waiting = [delivery for delivery in self.waiting if not delivery.is_message]

    @rule()
    def drop(self) -> None:
        assert self.outbox.drop() == self.waiting
        assert self.outbox.drop() == []
        self.waiting.clear()

    @invariant()
    def counts(self) -> None:
        assert len(self.outbox) == len(self.messages)
        assert self.outbox.bytes == sum(delivery.size for delivery in self.messages)
        assert self.outbox.high_water == self.most


TestOutboxAgainstAList = OutboxAgainstAList.TestCase
TestOutboxAgainstAList.settings = settings(deadline=None, max_examples=30, stateful_step_count=30)


def test_statistics_are_a_frozen_value() -> None:
    names = [field.name for field in dataclasses.fields(WebSocketStatistics)]
    statistics = WebSocketStatistics(*range(len(names)))
    assert statistics == WebSocketStatistics(*range(len(names)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        statistics.messages_sent = 0  # type: ignore[misc]
