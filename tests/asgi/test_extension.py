"""What is found in a scope."""

from typing import Any

import pytest

from wsnursery.asgi._extension import EXTENSION, Link, link_of


async def send(event: Any) -> None:
    """A server's."""


@pytest.mark.parametrize(
    "scope",
    [{}, {"extensions": None}, {"extensions": {}}, {"extensions": {EXTENSION: {"of": "others"}}}],
    ids=repr,
)
def test_there_is_none(scope: dict[str, Any]) -> None:
    assert link_of(scope) is None


def test_it_is_found() -> None:
    link = Link(send)
    assert link_of({"extensions": {"websocket.http.response": {}, EXTENSION: link}}) is link
    assert (link.send, link.websocket) == (send, None)
