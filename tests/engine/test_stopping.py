"""Who is cancelled when: the whole decision table, and whose call it is."""

import contextvars
import itertools

import anyio
import anyio.lowlevel
import pytest

from wsnursery._engine.stopping import (
    Cut,
    Participant,
    current_lineage,
    current_participant,
    set_lineage,
    who_must_stop,
)

ROWS = {
    # broken, unread, ever_read, may_read -> with the body still running, with the body finished
    (True, None, None, None): (Cut.UNTOLD, Cut.UNTOLD),
    (False, False, False, None): (Cut.UNTOLD, Cut.UNTOLD),
    (False, True, False, None): (Cut.NOBODY, Cut.BYSTANDERS),
    (False, None, True, False): (Cut.UNTOLD, Cut.UNTOLD),
    (False, None, True, True): (Cut.NOBODY, Cut.BYSTANDERS),
}
"""`None` stands for both."""


def row_of(*facts: bool) -> tuple[Cut, Cut]:
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
    broken, unread, ever_read, may_read = facts
    cut = who_must_stop(
        broken=broken,
        unread=unread,
        ever_read=ever_read,
        may_read=may_read,
        body_finished=body_finished,
    )
    assert cut is row_of(*facts)[body_finished]


# contract: D3
def test_nothing_that_happens_after_the_end_calls_a_cut_back() -> None:
    """Messages are read, readers finish, the body finishes: each may only make the cut grow."""
    steps = [("unread", False), ("may_read", False), ("body_finished", True)]
    for facts in itertools.product([False, True], repeat=5):
        names = ("broken", "unread", "ever_read", "may_read", "body_finished")
        case = dict(zip(names, facts, strict=True))
        before = who_must_stop(**case)
        for name, value in steps:
            if name != "unread" or case["ever_read"]:  # what is unread goes when somebody reads
                assert who_must_stop(**{**case, name: value}) >= before, (case, name)


@pytest.mark.parametrize(
    ("reads", "told", "falls_at"),
    [
        (False, False, Cut.BYSTANDERS),
        (True, False, Cut.UNTOLD),
        (False, True, Cut.EVERYONE),
        (True, True, Cut.EVERYONE),
    ],
)
async def test_who_falls_at_which_cut(reads: bool, told: bool, falls_at: Cut) -> None:
    participant = Participant(object())
    assert not participant.reads
    participant.reads = reads
    if told:
        participant.tell()
    assert participant.told is told
    assert participant.falls_at is falls_at
    assert not participant.scope.cancel_called


async def test_a_call_that_was_cancelled_told_nobody() -> None:
    participant = Participant(object())
    participant.tell()
    participant.tell()
    participant.untell()
    assert participant.told
    participant.untell()
    assert not participant.told


def test_the_cuts_grow() -> None:
    assert list(Cut) == [Cut.NOBODY, Cut.BYSTANDERS, Cut.UNTOLD, Cut.EVERYONE] == sorted(Cut)


async def test_a_task_is_part_of_nothing_unless_told() -> None:
    assert current_lineage() == ()
    assert current_participant(object()) is None


async def test_the_innermost_of_a_connection_counts() -> None:
    here, there = object(), object()
    outer, other, inner = Participant(here), Participant(there), Participant(here)
    set_lineage((outer, other, inner))
    try:
        assert current_lineage() == (outer, other, inner)
        assert current_participant(here) is inner
        assert current_participant(there) is other
        assert current_participant(object()) is None
        set_lineage((outer, other))
        assert current_participant(here) is outer
    finally:
        set_lineage(())


async def test_a_task_inherits_what_its_starter_is_part_of() -> None:
    """And what it says of itself later stays with it."""
    origin = object()
    mine, childs = Participant(origin), Participant(origin)
    seen: list[Participant | None] = []

    async def child() -> None:
        seen.append(current_participant(origin))
        set_lineage((childs,))
        await anyio.lowlevel.checkpoint()
        seen.append(current_participant(origin))

    set_lineage((mine,))
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        assert seen == [mine, childs]
        assert current_participant(origin) is mine
        assert contextvars.Context().run(current_lineage) == ()
    finally:
        set_lineage(())


async def test_a_participant_is_the_body_unless_it_has_a_number() -> None:
    """Hooks tell the children by their numbers; see `hooks.TaskEnded.task`."""
    assert [Participant(object()).number, Participant(object(), 1).number] == [0, 1]
