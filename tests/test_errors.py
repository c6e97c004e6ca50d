"""The exception tree: what each class is, what it says, and what survives a pickle."""

import copy
import pickle
from collections.abc import Callable

import anyio
import pytest

import wsnursery
from wsnursery import (
    InvalidPayload,
    LocalProtocolError,
    RemoteProtocolError,
    UnexpectedMessage,
    WebSocketDisconnected,
    _errors,
)
from wsnursery._errors import attribute, escaped, is_attributed, shown


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (WebSocketDisconnected, (ConnectionError, OSError)),
        (LocalProtocolError, (RuntimeError,)),
        (RemoteProtocolError, (RuntimeError,)),
        (UnexpectedMessage, (TypeError,)),
        (InvalidPayload, (ValueError,)),
    ],
)
def test_the_tree(error: type[Exception], bases: tuple[type[Exception], ...]) -> None:
    for base in bases:
        assert issubclass(error, base)
    assert error.__module__ == wsnursery.__name__
    assert error.__name__ in (_errors.__doc__ or "")


def test_the_classes_do_not_catch_each_other() -> None:
    classes = (
        WebSocketDisconnected,
        LocalProtocolError,
        RemoteProtocolError,
        UnexpectedMessage,
        InvalidPayload,
        anyio.ClosedResourceError,
        anyio.BusyResourceError,
        anyio.WouldBlock,
    )
    for one in classes:
        assert [other for other in classes if issubclass(one, other)] == [one]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ((), "the WebSocket connection has ended without a close code"),
        ((None, "", 0), "the WebSocket connection has ended without a close code"),
        ((1000,), "the WebSocket connection has ended with code 1000"),
        ((1006, ""), "the WebSocket connection has ended with code 1006"),
        ((4001, "bye"), "the WebSocket connection has ended with code 4001 and reason 'bye'"),
        (
            (None, "why"),
            "the WebSocket connection has ended without a close code and reason 'why'",
        ),
        (
            (1001, "", 1),
            "the WebSocket connection has ended with code 1001; 1 queued message not delivered",
        ),
        (
            (1001, "x", 2),
            (
                "the WebSocket connection has ended with code 1001 and reason 'x'; "
                "2 queued messages not delivered"
            ),
        ),
        (
            (wsnursery.CloseCode.GOING_AWAY,),
            "the WebSocket connection has ended with code 1001",
        ),
    ],
)
def test_the_sentence_of_a_disconnect(facts: tuple[int | None, str, int], sentence: str) -> None:
    exc = WebSocketDisconnected(*facts)
    assert str(exc) == sentence
    defaults = (None, "", 0)
    assert (exc.code, exc.reason, exc.undelivered) == (*facts, *defaults[len(facts) :])


# contract: T3
def test_a_reason_in_the_sentence_is_escaped_and_cut() -> None:
    sentence = str(WebSocketDisconnected(1000, "\x1b[31m\r\n" + "x" * 1000))
    assert "\x1b" not in sentence
    assert "\n" not in sentence
    assert len(sentence) < 300
    assert sentence.endswith("x'...")


def test_a_disconnect_is_not_taken_for_an_errno_error() -> None:
    exc = WebSocketDisconnected(1000, "x")
    assert exc.errno is None
    assert exc.filename is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "''"),
        ("plain", "'plain'"),
        ("new\nline", r"'new\nline'"),
        ("x" * 200, repr("x" * 200)),
        ("x" * 201, repr("x" * 200) + "..."),
        ("\ud800", r"'\ud800'"),
    ],
)
def test_shown(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ('it\'s "plain", \u00fc', 'it\'s "plain", \u00fc'),
        ("a\r\n\t\x1b[31m\x00\x9b", r"a\r\n\t\x1b[31m\x00\x9b"),
        ("\ud800\u202e\u2028\ufffe", r"\ud800\u202e\u2028\ufffe"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "..."),
    ],
)
def test_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected


def pickled(exc: Exception) -> Exception:
    again: Exception = pickle.loads(pickle.dumps(exc))
    return again


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize(
    "original",
    [
        WebSocketDisconnected(4001, "bye", 3),
        WebSocketDisconnected(),
        UnexpectedMessage("expected text", b"\x00"),
        InvalidPayload("not JSON", "{"),
        LocalProtocolError("call accept first"),
        RemoteProtocolError("unknown event"),
    ],
    ids=repr,
)
def test_copies_say_the_same(again: Callable[[Exception], Exception], original: Exception) -> None:
    made = again(original)
    assert type(made) is type(original)
    assert str(made) == str(original)
    for name in ("code", "reason", "undelivered", "message"):
        assert getattr(made, name, "none") == getattr(original, name, "none")


@pytest.mark.parametrize("kind", [UnexpectedMessage, InvalidPayload])
@pytest.mark.parametrize("message", ["text", b"bytes"])
def test_the_message_is_on_the_exception(
    kind: type[UnexpectedMessage | InvalidPayload], message: str | bytes
) -> None:
    exc = kind("a sentence", message)
    assert exc.message == message
    assert str(exc) == "a sentence"


# contract: X7
def test_an_exception_is_about_one_connection() -> None:
    here, there = object(), object()
    exc = WebSocketDisconnected(1000)
    assert not is_attributed(exc, here)
    assert attribute(exc, here) is exc
    assert is_attributed(exc, here)
    assert not is_attributed(exc, there)
    assert not is_attributed(ConnectionError(), here)


def test_a_copy_is_about_no_connection() -> None:
    """A pickle may come from another process, where the same token means nothing."""
    origin = object()
    exc = attribute(WebSocketDisconnected(1000), origin)
    assert not is_attributed(pickled(exc), origin)
