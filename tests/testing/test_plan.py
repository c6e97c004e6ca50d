"""Plans and their seeds."""

import pytest

from wsnursery.testing._plan import Action, CallFault, Plan, Tape


@pytest.mark.parametrize(
    ("plan", "seed"),
    [
        (Plan(), "quiet"),
        (Plan(deviations={3: 1}), "quiet~3=1"),
        (Plan(Action("cancel", 17)), "cancel0@17"),
        (Plan(fault=CallFault("gone", 2, 1)), "gone1#2"),
        (
            Plan(Action("native", 1, 2), CallFault("raises", 4), {1: 2, 5: 1}),
            "native2@1+raises0#4~1=2~5=1",
        ),
    ],
)
def test_seeds_can_be_read_back(plan, seed):
    assert str(plan) == seed
    assert Plan.parse(seed) == plan
    assert plan.quiet == seed.startswith("quiet")


@pytest.mark.parametrize("seed", ["nonsense", "cancel0", "cancel0#1", "gone0@1", "fly0@1"])
def test_what_is_not_a_seed(seed):
    with pytest.raises(ValueError, match="the seed must be one of an exploration, got"):
        Plan.parse(seed)


def test_the_tape():
    tape = Tape({1: 2, 2: 9})
    assert [tape.choose(3), tape.choose(3), tape.choose(2), tape.choose(2)] == [0, 2, 1, 0]
    assert tape.options == [3, 3, 2, 2]
