"""Finding the extension in a scope."""

from typing import Any

import pytest

from wsnursery.asgi._extension import EXTENSION, ServerExtension, extension_of


async def send(event: Any) -> None:
    """A server's."""


@pytest.mark.parametrize(
    "scope",
    [{}, {"extensions": None}, {"extensions": {}}, {"extensions": {EXTENSION: {"of": "others"}}}],
    ids=repr,
)
def test_there_is_none(scope: dict[str, Any]) -> None:
    assert extension_of(scope) is None


def test_it_is_found() -> None:
    extension = ServerExtension(send)
    assert (
        extension_of({"extensions": {"websocket.http.response": {}, EXTENSION: extension}})
        is extension
    )
    assert (extension.send, extension.websocket) == (send, None)
