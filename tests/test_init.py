"""What ``import wsnursery`` gives: these names and no others, each documented and at its place."""

import inspect
import pickle

import pytest

import wsnursery

PUBLIC = [
    "CloseCode",
    "Codec",
    "InvalidPayload",
    "LocalProtocolError",
    "Options",
    "QueryParams",
    "RemoteProtocolError",
    "Room",
    "Rooms",
    "UnexpectedMessage",
    "WebSocket",
    "WebSocketDisconnected",
    "WebSocketStatistics",
    "open_websocket",
    "websocket_app",
]


def test_the_public_names() -> None:
    assert wsnursery.__all__ == PUBLIC == sorted(PUBLIC)


def test_nothing_else_looks_public() -> None:
    """Submodules are named like files; everything else that is imported here is exported."""
    names = {
        name
        for name, value in vars(wsnursery).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert names == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_the_public_module(name: str) -> None:
    value = getattr(wsnursery, name)
    assert value.__module__ == "wsnursery"
    assert value.__qualname__ == name
    assert pickle.loads(pickle.dumps(value)) is value


def public_members() -> list[tuple[str, object]]:
    members: list[tuple[str, object]] = []
    for name in PUBLIC:
        value = getattr(wsnursery, name)
        members.append((name, value))
        if inspect.isclass(value):
            members += [
                (f"{name}.{member}", getattr(value, member))
                for member, of_class in vars(value).items()
                if not member.startswith("_")
                and (callable(of_class) or isinstance(of_class, property | classmethod))
            ]
    return members


MEMBERS = public_members()


@pytest.mark.parametrize("member", MEMBERS, ids=[name for name, _ in MEMBERS])
def test_every_public_name_is_documented(member: tuple[str, object]) -> None:
    name, value = member
    doc = inspect.getdoc(value) or ""
    assert doc.split("\n")[0].strip().endswith((".", ":")) or "``" in doc.split("\n")[0], name


@pytest.mark.parametrize("member", MEMBERS, ids=[name for name, _ in MEMBERS])
def test_an_async_method_says_whether_it_is_a_checkpoint(member: tuple[str, object]) -> None:
    """Or it says that it is like another one, which does."""
    name, value = member
    if inspect.iscoroutinefunction(value):
        doc = inspect.getdoc(value) or ""
        assert "*Checkpoint*" in doc or "otherwise" in doc, name


def test_the_package_says_what_it_is() -> None:
    assert wsnursery.__doc__ == (
        "Structured concurrency for WebSockets: one task group per connection, on trio and asyncio."
    )


def test_a_class_that_only_the_library_makes() -> None:
    with pytest.raises(TypeError, match="is made by the library: use `async with open_websocket"):
        wsnursery.WebSocket()
