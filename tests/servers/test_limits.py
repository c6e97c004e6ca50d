"""The table of limits is about tests and servers that exist."""

import pytest

from tests.servers import test_every_server
from tests.servers._limits import LIMITS, Limit
from tests.servers._rows import ROOT, SERVERS


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.servers} {limit.rule}")
def test_row(limit: Limit) -> None:
    for pattern in limit.servers.split():
        alone = Limit(pattern, limit.rule, limit.tests, "", "")
        assert any(alone.is_about(server, limit.tests[0]) for server in SERVERS)
    for test in limit.tests:
        assert hasattr(test_every_server, test.partition("[")[0])


def test_the_page_on_strict_mode_says_what_is_tested() -> None:
    page = (ROOT / "docs" / "strict.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    for row in SERVERS.values():
        version = ".".join(row.version.split(".")[:2])
        about = [line for line in lines if row.distribution in line.lower() and version in line]
        announced = test_every_server.ANNOUNCED.get(row.distribution, "nothing")
        assert about, f"{row.distribution} {version}"
        assert all(announced in line for line in about)
        for name, ways in test_every_server.STRICT.items():
            if row.name.startswith(name):
                assert all(any(text in line for line in about) for text in ways.values())
