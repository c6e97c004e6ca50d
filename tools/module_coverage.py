"""Is every module covered by its own test file? Run after `coverage run -m pytest`.

`wsnursery/_codes.py` belongs to `tests/test_codes.py`. Lines that run at import count for
everybody.
"""

import sys
from io import StringIO
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "wsnursery"


def own_test(module: Path) -> Path:
    """The test file that has to cover a module alone."""
    place = module.relative_to(PACKAGE)
    return Path("tests", place.parent, f"test_{place.stem.strip('_')}.py")


def percentage(coverage: Coverage, module: Path, test: Path) -> float:
    """How much of a module its own test covers, in lines and branches."""
    contexts = ["^$", f"^{test.as_posix()}$"]
    return coverage.report([str(module)], contexts=contexts, file=StringIO(), skip_covered=False)


def main() -> int:
    """Print the modules that are not, and return 1 if there are any."""
    coverage = Coverage()
    coverage.load()
    incomplete = 0
    for module in sorted(PACKAGE.rglob("*.py")):
        test = own_test(module)
        if module.stem == "__init__":
            continue
        covered = percentage(coverage, module, test)
        if covered < 100:
            incomplete += 1
            print(f"{covered:6.1f} %  {module.relative_to(ROOT)} by {test}")
    print(f"{incomplete} modules are not covered by their own tests alone.")
    return min(incomplete, 1)


if __name__ == "__main__":
    sys.exit(main())
