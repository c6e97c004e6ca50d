"""`Options`: its defaults, what each field takes and refuses, and that it is documented."""

import ast
import dataclasses
import inspect
import math
from typing import Any

import pytest

from wsnursery import Options, _options, hooks
from wsnursery._codec import STANDARD

COUNTS = (
    "receive_buffer",
    "receive_buffer_bytes",
    "send_buffer",
    "send_buffer_bytes",
    "max_message_size",
    "message_burst",
)
SECONDS = ("grace_period", "close_timeout")
TIMEOUTS = ("send_timeout", "idle_timeout", "ping_interval", "ping_timeout")
FIELDS = [field.name for field in dataclasses.fields(Options)]


def one(name: str, value: Any) -> Any:
    """What a field holds when it is given that value."""
    return getattr(Options(**{name: value}), name)


def refuses(name: str, value: Any) -> type[Exception] | None:
    """The kind of refusal, if its sentence names the field or is about origins."""
    try:
        Options(**{name: value})
    except (TypeError, ValueError) as exc:
        teaches = f"Options.{name} " in str(exc) or ": write it without a path" in str(exc)
        return type(exc) if teaches else None
    return None


# contract: T4
def test_the_defaults() -> None:
    fields = dataclasses.fields(Options)
    assert {field.name: getattr(Options(), field.name) for field in fields} == {
        "receive_buffer": 64,
        "receive_buffer_bytes": 1024 * 1024,
        "send_buffer": 256,
        "send_buffer_bytes": 1024 * 1024,
        "grace_period": 5.0,
        "close_timeout": 5.0,
        "send_timeout": 30.0,
        "idle_timeout": None,
        "ping_interval": 20.0,
        "ping_timeout": 20.0,
        "incoming": "buffer",
        "max_message_size": 1024 * 1024,
        "max_messages_per_second": None,
        "message_burst": 100,
        "allowed_origins": None,
        "codec": STANDARD,
        "strict": False,
        "hooks": (),
    }


def test_a_rate() -> None:
    for right in (None, 0.1, 1, 10**12):
        assert one("max_messages_per_second", right) == right
    for small in (0, -1, math.inf, math.nan):
        assert refuses("max_messages_per_second", small) is ValueError
    for wrong in ("1", True, [1]):
        assert refuses("max_messages_per_second", wrong) is TypeError


@pytest.mark.parametrize("name", COUNTS)
def test_a_count(name: str) -> None:
    assert one(name, 1) == 1
    assert one(name, 10**12) == 10**12
    for small in (0, -1):
        assert refuses(name, small) is ValueError
    for wrong in (None, 1.0, "1", True, math.inf):
        assert refuses(name, wrong) is TypeError


@pytest.mark.parametrize("name", SECONDS)
def test_seconds(name: str) -> None:
    for good in (0, 0.0, 1, 0.001, 1e9):
        assert one(name, good) == good
    for bad in (-1, -0.001, math.inf, math.nan, -math.inf):
        assert refuses(name, bad) is ValueError
    for wrong in (None, "1", True, 1j):
        assert refuses(name, wrong) is TypeError


@pytest.mark.parametrize("name", TIMEOUTS)
def test_a_timeout(name: str) -> None:
    for good in (None, 1, 0.001, 1e9):
        assert one(name, good) == good
    for bad in (0, 0.0, -1, math.inf, math.nan):
        assert refuses(name, bad) is ValueError
    for wrong in ("1", False, [1]):
        assert refuses(name, wrong) is TypeError


def test_a_timeout_of_nothing_says_how_to_have_none() -> None:
    with pytest.raises(ValueError, match="more than 0 seconds, or None for no limit"):
        Options(send_timeout=0)


def test_incoming() -> None:
    assert one("incoming", "buffer") == "buffer"
    assert one("incoming", "discard") == "discard"
    for wrong in ("drop", "", None, "BUFFER", True):
        assert refuses("incoming", wrong) is ValueError


def test_strict() -> None:
    assert one("strict", True) is True
    assert one("strict", False) is False
    for wrong in (1, 0, None, "yes"):
        assert refuses("strict", wrong) is TypeError


# contract: T2
def test_allowed_origins() -> None:
    assert one("allowed_origins", None) is None
    assert one("allowed_origins", []) == ()
    assert one("allowed_origins", ("http://x",)) == ("http://x",)
    for wrong in (
        "https://example.org",
        {"https://example.org"},
        1,
        b"x",
        [1],
        [None],
        [b"http://x"],
    ):
        assert refuses("allowed_origins", wrong) is TypeError
    for bad in (["example.org"], ["https://example.org/"], ["http://x", "null"]):
        assert refuses("allowed_origins", bad) is ValueError


def test_hooks() -> None:
    def hook(event: hooks.Event) -> None:
        """Take it."""

    async def waits(event: hooks.Event) -> None:
        """A coroutine function is never run."""

    assert one("hooks", [hook]) == (hook,)
    assert one("hooks", ()) == ()
    for wrong in (hook, None, "hook", {hook}, [1], [None], [object], [waits]):
        assert refuses("hooks", wrong) is TypeError
    with pytest.raises(TypeError, match=r"write object\(\), not object"):
        Options(hooks=[object])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="a hook must not wait"):
        Options(hooks=[waits])  # type: ignore[list-item]


def test_a_list_that_changes_later_changes_nothing() -> None:
    origins = ["http://x"]
    options = Options(allowed_origins=origins)
    origins.append("http://evil")
    assert options.allowed_origins == ("http://x",)


def test_it_is_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().strict = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        Options(64)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="receive_bufer"):
        Options(receive_bufer=1)  # type: ignore[call-arg]


def test_it_is_a_value() -> None:
    assert Options(strict=True) == Options(strict=True) != Options()
    assert hash(Options(allowed_origins=["http://x"])) == hash(
        Options(allowed_origins=["http://x"])
    )
    assert dataclasses.replace(Options(), grace_period=0).grace_period == 0
    with pytest.raises(ValueError, match="grace_period"):
        dataclasses.replace(Options(), grace_period=-1)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_documented(name: str) -> None:
    """With a docstring of its own, which says the unit where there is one."""
    tree = ast.parse(inspect.getsource(_options))
    (options,) = (
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Options"
    )
    docs = {
        statement.target.id: following.value.value
        for statement, following in zip(options.body, options.body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }
    unit = {
        **dict.fromkeys(SECONDS + TIMEOUTS, "econds"),
        **dict.fromkeys(("receive_buffer", "send_buffer"), "messages"),
        **{count: "bytes" for count in COUNTS if count.endswith(("bytes", "size"))},
    }
    assert unit.get(name, "") in str(docs[name])
