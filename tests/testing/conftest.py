"""The kit is tested on virtual time, on both backends."""

import pytest

from wsnursery.testing import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return virtual_backend(request.param)
