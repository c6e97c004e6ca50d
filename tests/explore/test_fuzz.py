"""Random programs: some for every commit, and as many as fit into ten minutes in the nightly run.

``WSNURSERY_NIGHTLY=1`` runs them from a new seed on each backend for
``WSNURSERY_FUZZ_SECONDS`` (600 by default). A failure prints the seed and the smallest program;
``python -m tests.explore.fuzz BACKEND SEED`` shows it again.
"""

import itertools
import os
import time

import pytest

from tests._nightly import NIGHTLY
from tests.explore.fuzz import BACKENDS, kind_of, run_program, smallest
from tests.explore.programs import make

SECONDS = float(os.environ.get("WSNURSERY_FUZZ_SECONDS", "600"))

SEEDS = range(1, 201)
"""A few seconds on each backend."""

CURED = [
    # Programs that have failed, and must not fail again.
    ("asyncio", 454),
    ("asyncio", 554),
    ("asyncio", 721),
    ("asyncio", 1296),
    ("asyncio", 1598),
    ("asyncio", 5466),
    ("asyncio", 7196),
    ("asyncio", 8164),
    ("asyncio", 1795874119097),
    ("asyncio", 1795874119225),
    ("asyncio", 1795874120424),
    ("asyncio", 1795878967026),
    ("asyncio", 1795878968682),
    ("asyncio", 1795879915077),
    ("asyncio", 1795883655553),
    ("asyncio", 1795883666527),
    ("eager", 130),
    ("eager", 445),
    ("eager", 1107),
    ("eager", 2820),
    ("eager", 4937),
    ("eager", 5761),
    ("eager", 1795878697209),
    ("eager", 1795879245017),
    ("eager", 1795883633725),
    ("eager", 1795883674403),
    ("trio", 1613),
    ("trio", 8375),
]


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
        check(backend, seed)


@pytest.mark.parametrize(("backend", "seed"), [case for case in CURED if case[0] in BACKENDS])
def test_what_has_failed(backend: str, seed: int) -> None:
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
