"""Which tasks are cancelled when: the whole decision table."""

import contextvars
import itertools

import anyio
import anyio.lowlevel
import pytest

from wsnursery._engine.stopping import CancelLevel, who_must_stop
from wsnursery._engine.user_task import (
    UserTask,
    enclosing_task,
    enclosing_tasks,
    set_enclosing_tasks,
)

ROWS = {
    # abnormal, unread, ever_read, may_read -> with the body still running, with the body finished
    (True, None, None, None): (CancelLevel.NOT_NOTIFIED, CancelLevel.NOT_NOTIFIED),
    (False, False, False, None): (CancelLevel.NOT_NOTIFIED, CancelLevel.NOT_NOTIFIED),
    (False, True, False, None): (CancelLevel.NONE, CancelLevel.BYSTANDERS),
    (False, None, True, False): (CancelLevel.NOT_NOTIFIED, CancelLevel.NOT_NOTIFIED),
    (False, None, True, True): (CancelLevel.NONE, CancelLevel.BYSTANDERS),
}
"""`None` stands for both."""


def row_of(*facts: bool) -> tuple[CancelLevel, CancelLevel]:
    """The one row that these facts match."""
    (row,) = (
        cuts
        for wanted, cuts in ROWS.items()
        if all(want is None or want == fact for want, fact in zip(wanted, facts, strict=True))
    )
    return row


# contract: D1, D2, D3
@pytest.mark.parametrize("facts", [*itertools.product([False, True], repeat=4)], ids=repr)
@pytest.mark.parametrize("body_finished", [False, True])
def test_every_case(facts: tuple[bool, bool, bool, bool], body_finished: bool) -> None:
    abnormal, unread, ever_read, may_read = facts
    level = who_must_stop(
        abnormal=abnormal,
        unread=unread,
        ever_read=ever_read,
        may_read=may_read,
        body_finished=body_finished,
    )
    assert level is row_of(*facts)[body_finished]


# contract: D3
def test_nothing_that_happens_after_the_end_calls_a_cut_back() -> None:
    """Messages are read, readers finish, the body finishes: none of them lowers the level."""
    steps = [("unread", False), ("may_read", False), ("body_finished", True)]
    for facts in itertools.product([False, True], repeat=5):
        names = ("abnormal", "unread", "ever_read", "may_read", "body_finished")
        case = dict(zip(names, facts, strict=True))
        before = who_must_stop(**case)
        for name, value in steps:
            if name != "unread" or case["ever_read"]:  # a task that reads takes the unread messages
                assert who_must_stop(**{**case, name: value}) >= before, (case, name)


@pytest.mark.parametrize(
    ("reads", "notified", "cancelled_at"),
    [
        (False, False, CancelLevel.BYSTANDERS),
        (True, False, CancelLevel.NOT_NOTIFIED),
        (False, True, CancelLevel.ALL),
        (True, True, CancelLevel.ALL),
    ],
)
async def test_which_tasks_are_cancelled_at_which_level(
    reads: bool, notified: bool, cancelled_at: CancelLevel
) -> None:
    task = UserTask(object(), anyio.CancelScope())
    assert not task.reads
    task.reads = reads
    if notified:
        task.notify()
    assert task.notified is notified
    assert task.cancelled_at is cancelled_at
    assert not task.scope.cancel_called


async def test_a_call_that_was_cancelled_notified_no_task() -> None:
    task = UserTask(object(), anyio.CancelScope())
    task.notify()
    task.notify()
    task.retract()
    assert task.notified
    task.retract()
    assert not task.notified


def test_the_cuts_grow() -> None:
    assert (
        list(CancelLevel)
        == [
            CancelLevel.NONE,
            CancelLevel.BYSTANDERS,
            CancelLevel.NOT_NOTIFIED,
            CancelLevel.ALL,
        ]
        == sorted(CancelLevel)
    )


async def test_a_task_is_part_of_no_connection_by_default() -> None:
    assert enclosing_tasks() == ()
    assert enclosing_task(object()) is None


async def test_the_innermost_of_a_connection_counts() -> None:
    here, there = object(), object()
    outer, other, inner = (
        UserTask(here, anyio.CancelScope()),
        UserTask(there, anyio.CancelScope()),
        UserTask(here, anyio.CancelScope()),
    )
    set_enclosing_tasks((outer, other, inner))
    try:
        assert enclosing_tasks() == (outer, other, inner)
        assert enclosing_task(here) is inner
        assert enclosing_task(there) is other
        assert enclosing_task(object()) is None
        set_enclosing_tasks((outer, other))
        assert enclosing_task(here) is outer
    finally:
        set_enclosing_tasks(())


async def test_a_task_inherits_what_its_starter_is_part_of() -> None:
    """Its later notifications stay with it."""
    origin = object()
    mine, childs = UserTask(origin, anyio.CancelScope()), UserTask(origin, anyio.CancelScope())
    seen: list[UserTask | None] = []

    async def child() -> None:
        seen.append(enclosing_task(origin))
        set_enclosing_tasks((childs,))
        await anyio.lowlevel.checkpoint()
        seen.append(enclosing_task(origin))

    set_enclosing_tasks((mine,))
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        assert seen == [mine, childs]
        assert enclosing_task(origin) is mine
        assert contextvars.Context().run(enclosing_tasks) == ()
    finally:
        set_enclosing_tasks(())
