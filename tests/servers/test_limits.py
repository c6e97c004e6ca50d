"""The table of limits is about tests and servers that exist."""

import pytest

from tests.servers import test_every_server
from tests.servers._limits import LIMITS, Limit
from tests.servers._rows import SERVERS


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.servers} {limit.rule}")
def test_row(limit: Limit) -> None:
    for pattern in limit.servers.split():
        alone = Limit(pattern, limit.rule, limit.tests, "", "")
        assert any(alone.is_about(server, limit.tests[0]) for server in SERVERS)
    for test in limit.tests:
        assert hasattr(test_every_server, test.partition("[")[0])
