"""Words for numbers, exceptions and other people's texts."""

import asyncio
from typing import Any

import pytest

from wsnursery.timeline._words import amount, chain, counted, duration, ending, short_name


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (0.000_12, "120 \u00b5s"),
        (0.000_999_9, "1 ms"),
        (0.0015, "1.5 ms"),
        (0.25, "250 ms"),
        (0.9999, "1 s"),
        (2.346, "2.35 s"),
        (59.99, "59.99 s"),
        (59.999, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3720, "1 h 2 min"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_counting() -> None:
    assert counted(0, "byte") == "0 bytes"
    assert counted(1, "byte") == "1 byte"
    assert counted(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("messages", "size", "words"),
    [
        (1, 1, "1 byte"),
        (1, 9_999, "9999 bytes"),
        (2, 12_345, "2 messages, 12 kB"),
        (3, 12_345_678, "3 messages, 12 MB"),
    ],
)
def test_amounts(messages: int, size: int, words: str) -> None:
    assert amount(messages, size) == words


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (None, "", "no close code"),
        (1001, "", "code 1001"),
        (1000, "bye\n", "code 1000, reason 'bye\\n'"),
    ],
)
def test_a_close(code: int | None, reason: str, words: str) -> None:
    assert ending(code, reason) == words


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The exception with the cause, as ``raise ... from`` leaves it."""
    error.__cause__ = cause
    return error


def test_the_chain_follows_causes_and_contexts() -> None:
    inner = KeyError("lost")
    middle = OSError(32, "Broken pipe")
    middle.__context__ = inner
    outer = raised(ConnectionError("ended"), middle)
    assert chain(None) == ()
    assert chain(outer) == (
        "ConnectionError: ended",
        "BrokenPipeError: [Errno 32] Broken pipe",
        "KeyError: 'lost'",
    )


def test_the_chain_stops_where_the_traceback_does() -> None:
    error = ValueError("seen")
    error.__context__ = KeyError("not to be seen")
    error.__suppress_context__ = True
    assert chain(error) == ("ValueError: seen",)


def test_what_a_cancellation_interrupted_is_not_its_cause() -> None:
    error = asyncio.CancelledError()
    error.__context__ = KeyError("interrupted")
    assert chain(error) == ("CancelledError",)
    error.__cause__ = BaseExceptionGroup("several", [asyncio.CancelledError()])
    assert chain(error) == ("CancelledError",)


def test_a_chain_in_a_circle_ends() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    assert chain(first) == ("ValueError: 1", "ValueError: 2")


def test_a_long_chain_is_cut() -> None:
    error: BaseException | None = None
    for number in range(20):
        error = raised(ValueError(number), error)
    assert len(chain(error)) == 8


def test_a_group_shows_its_members() -> None:
    group = BaseExceptionGroup(
        "several", [raised(ValueError("a"), OSError("b")), asyncio.CancelledError("scope 0x7f")]
    )
    assert chain(group) == ("BaseExceptionGroup [ValueError: a \u2190 OSError: b; CancelledError]",)


def test_a_group_in_a_circle_ends() -> None:
    member = ValueError("a")
    group = ExceptionGroup("several", [member, KeyError("b")])
    member.__context__ = group
    assert chain(group) == ("ExceptionGroup [ValueError: a; KeyError: 'b']",)


def test_groups_in_groups_are_cut() -> None:
    group: Any = ValueError("innermost")
    for _ in range(5000):
        group = ExceptionGroup("several", [group])
    assert chain(group)[0].startswith("ExceptionGroup [ExceptionGroup [")


def test_what_an_exception_without_a_text_says() -> None:
    class Speechless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    class Named(Exception):
        pass

    assert chain(Speechless()) == ("Speechless: (no text)",)
    assert chain(Named()) == ("Named",)


def test_a_name_is_that_of_the_innermost_function() -> None:
    assert short_name("serve.<locals>.Chat.read") == "Chat.read"
    assert short_name("Chat.read") == "Chat.read"
