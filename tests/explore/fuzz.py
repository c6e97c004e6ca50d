"""Random programs around one connection, and what must hold after every one of them.

A program is plain data: what the body and its children do, what the peer and other tasks do at the
same time, how the server behaves, and what goes wrong. A seed gives the same program every time.

``python -m tests.explore.fuzz BACKEND SEED`` runs one and prints the smallest program that fails in
the same way; ``python -m tests.explore.fuzz BACKEND FIRST LAST`` runs many.
"""

from __future__ import annotations

import gc
import logging
import sys
import traceback
import warnings
from functools import partial

from tests.explore.facts import Run
from tests.explore.judging import EXPECTED, is_only, problems_of
from tests.explore.programs import Program, make, smaller_programs
from tests.explore.running import LONGEST, faults_of, run_main, run_on
from wsnursery import testing

BACKENDS = ("asyncio", "eager", "trio") if sys.version_info >= (3, 12) else ("asyncio", "trio")
"""``eager`` is asyncio with eager tasks, which came with CPython 3.12."""


def run_program(program: Program, backend: str, seed: int = 0) -> str:
    """Run a program. Return what went wrong, or an empty string."""
    (personality,) = {p for p in testing.SERVERS + testing.BASIC if p.name == program.personality}
    server = testing.Server(
        personality=personality,
        answers_close=program.answers_close,
        faults=list(faults_of(program, backend)),
        timeout=LONGEST,
    )
    run, left = Run(program, backend, server), list[str]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run_on(backend, partial(run_main, left), run, seed)
        except BaseException as exc:  # noqa: BLE001 - a livelock is no Exception
            if not (run.interrupted and is_only(exc, (KeyboardInterrupt, *EXPECTED))):
                return "".join(traceback.format_exception(exc))
        problems = [*left, *problems_of(run)]
        if run.interrupted:
            gc.collect()  # what the loop that was stopped has left says so here
            return "; ".join(problems)
        said = [str(warning.message) for warning in caught]
        lost = [text for text in said if "never awaited" in text]
        problems += lost
    return "; ".join(problems)


def kind_of(problem: str) -> str:
    """What makes two failures the same fault: the last line, without numbers and addresses."""
    last = problem.strip().splitlines()[-1] if problem else ""
    return "".join(c for c in last if not c.isdigit())[:60]


def smallest(program: Program, backend: str, seed: int) -> tuple[Program, str]:
    """The smallest program that fails in the same way."""
    problem = run_program(program, backend, seed)
    kind, shrinking = kind_of(problem), True
    while shrinking:
        shrinking = False
        for smaller in smaller_programs(program):
            found = run_program(smaller, backend, seed)
            if found and kind_of(found) == kind:
                program, problem, shrinking = smaller, found, True
                break
    return program, problem


def main(backend: str, first: int, last: int | None = None) -> None:
    """Run the programs of some seeds; print the smallest ones that fail, one of a kind."""
    logging.disable(logging.CRITICAL)
    seen: dict[str, int] = {}
    for seed in range(first, (first if last is None else last) + 1):
        problem = run_program(make(seed), backend, seed)
        if seed % 500 == 0:
            gc.collect()
        if not problem:
            continue
        seen[kind_of(problem)] = seen.get(kind_of(problem), 0) + 1
        if seen[kind_of(problem)] > 1:
            continue
        program, problem = smallest(make(seed), backend, seed)
        print(
            f"backend {backend}, seed {seed}:\n{program}\n{problem.strip()[-1500:]}\n", flush=True
        )
    print(f"{seen or 'nothing found'}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
