"""What `tools/autobahn_server.py` and `tools/autobahn_client.py` count as a lost case."""

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "_autobahn.py"))


def lost(case: str, bare: tuple[str, str], ours: tuple[str, str]) -> int:
    def verdicts(verdict: tuple[str, str]) -> dict[str, object]:
        return {case: TOOL["Verdict"](*verdict, seconds=0)}

    count: int = TOOL["count_lost"](verdicts(bare), verdicts(ours))
    return count


@pytest.mark.parametrize(
    ("case", "bare", "ours", "expected"),
    [
        ("1.1.1", ("OK", "OK"), ("OK", "OK"), 0),
        ("1.1.1", ("OK", "OK"), ("FAILED", "OK"), 1),
        ("1.1.1", ("OK", "OK"), ("FAILED", "UNCLEAN"), 2),
        ("1.1.1", ("OK", "OK"), ("OK", "WRONG CODE"), 1),
        ("1.1.1", ("NON-STRICT", "OK"), ("FAILED", "OK"), 1),
        ("1.1.1", ("OK", "OK"), ("NON-STRICT", "OK"), 1),
        ("3.2", ("OK", "OK"), ("NON-STRICT", "OK"), 0),
        ("3.2", ("OK", "OK"), ("FAILED", "OK"), 1),
        ("1.1.1", ("FAILED", "FAILED BY CLIENT"), ("FAILED", "UNCLEAN"), 0),
        ("1.1.1", ("FAILED", "UNCLEAN"), ("OK", "OK"), 0),
        ("7.13.1", ("INFORMATIONAL", "INFORMATIONAL"), ("OK", "OK"), 0),
    ],
)
def test_lost(case: str, bare: tuple[str, str], ours: tuple[str, str], expected: int) -> None:
    assert lost(case, bare, ours) == expected


def test_a_case_that_did_not_run_is_lost() -> None:
    assert TOOL["count_lost"]({"1.1.1": TOOL["Verdict"]("OK", "OK", 0)}, {}) == 2
