"""Every row of the documentation's table has a test that names it, and the reverse."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "faults.md"


def test_every_row_has_a_test():
    named = {
        int(number)
        for path in HERE.glob("test_*.py")
        for number in re.findall(r"# row: (\d+)", path.read_text())
    }
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)}
    assert named == rows == set(range(1, 42))
