"""Random programs: some for every commit, and as many as fit into ten minutes in the nightly run.

``WSNURSERY_NIGHTLY=1`` runs them from a new seed on each backend for
``WSNURSERY_FUZZ_SECONDS`` (600 by default). A failure prints the seed and the smallest program;
``python -m tests.explore.fuzz BACKEND SEED`` shows it again.
"""

import itertools
import os
import sys
import time

import pytest

from tests._nightly import NIGHTLY
from tests.explore.fuzz import BACKENDS, kind_of, run_program, smallest
from tests.explore.programs import make

SECONDS = float(os.environ.get("WSNURSERY_FUZZ_SECONDS", "600"))

SEEDS = range(1, 201)
"""A few seconds on each backend."""

LEAKS = "a cancellation leaves the block that its own group has caught"
LEFT = "a task of asyncio.gather outlives a handler that returns from another of its tasks"
LOST = "a native cancellation is taken back that is not ours, or one of ours is not"

CURED = [
    # Programs that have failed, and must not fail again.
    ("asyncio", 454),
    ("asyncio", 554),
    ("asyncio", 1296),
    ("asyncio", 1598),
    ("asyncio", 7196),
    ("asyncio", 8164),
    ("eager", 445),
    ("eager", 2820),
    ("eager", 4937),
    ("eager", 5761),
    ("trio", 1613),
    ("trio", 8375),
]

SINCE: dict[tuple[str, int], tuple[int, str]] = {
    # Programs that still fail: since which minor version of CPython 3, and the fault.
    ("asyncio", 1795874120424): (11, LEFT),
    ("eager", 1107): (12, LOST),
}
BEFORE: dict[tuple[str, int], tuple[int, str]] = {
    # The same, with the first version in which they pass.
    ("asyncio", 721): (13, LOST),
    ("asyncio", 5466): (13, LOST),
    ("asyncio", 1795874119097): (13, LOST),
    ("asyncio", 1795874119225): (13, LEAKS),
    ("eager", 130): (13, LOST),
}
MINOR = sys.version_info.minor
KNOWN = {case: fault for case, (since, fault) in SINCE.items() if since <= MINOR}
KNOWN |= {case: fault for case, (before, fault) in BEFORE.items() if before > MINOR}
"""An entry goes with the cure, to `CURED`."""


def check(backend: str, seed: int) -> None:
    """Run the program of a seed; if it fails, say what is the smallest one that does."""
    if run_program(make(seed), backend, seed):
        pytest.fail(describe(backend, seed), pytrace=False)


def describe(backend: str, seed: int) -> str:
    program, problem = smallest(make(seed), backend, seed)
    return f"backend {backend}, seed {seed}:\n{program}\n{problem}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_some_programs(backend: str) -> None:
    for seed in SEEDS:
        if (backend, seed) not in KNOWN:
            check(backend, seed)


@pytest.mark.parametrize(("backend", "seed"), [case for case in CURED if case[0] in BACKENDS])
def test_what_has_failed(backend: str, seed: int) -> None:
    check(backend, seed)


@pytest.mark.parametrize(
    ("backend", "seed"),
    [
        pytest.param(*case, marks=pytest.mark.xfail(strict=True, reason=fault))
        for case, fault in KNOWN.items()
        if case[0] in BACKENDS
    ],
)
def test_what_still_fails(backend: str, seed: int) -> None:
    check(backend, seed)


@pytest.mark.skipif(not NIGHTLY, reason="nightly: WSNURSERY_NIGHTLY=1")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("backend", BACKENDS)
def test_many_programs(backend: str) -> None:
    """Go on after a failure: each kind of fault is reported once, with its smallest program."""
    first, deadline = int(time.time()) * 1000, time.monotonic() + SECONDS
    found: dict[str, str] = {}
    for seed in itertools.count(first):
        if time.monotonic() > deadline:
            break
        kind = kind_of(run_program(make(seed), backend, seed))
        if kind and kind not in found:
            found[kind] = describe(backend, seed)
    if found:
        pytest.fail("\n\n".join(found.values()), pytrace=False)


def test_a_seed_gives_the_same_program() -> None:
    assert [make(seed) for seed in range(50)] == [make(seed) for seed in range(50)]
