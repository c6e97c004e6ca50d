"""Which close codes and reasons may be sent, code by code and byte by byte."""

import pickle
from typing import Any

import pytest

from wsnursery import CloseCode, LocalProtocolError
from wsnursery._codes import MAX_REASON_BYTES, check_close

SENDABLE = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}

REGISTERED = {
    1000: "NORMAL_CLOSURE",
    1001: "GOING_AWAY",
    1002: "PROTOCOL_ERROR",
    1003: "UNSUPPORTED_DATA",
    1005: "NO_STATUS_RECEIVED",
    1006: "ABNORMAL_CLOSURE",
    1007: "INVALID_PAYLOAD",
    1008: "POLICY_VIOLATION",
    1009: "MESSAGE_TOO_BIG",
    1010: "MANDATORY_EXTENSION",
    1011: "INTERNAL_ERROR",
    1012: "SERVICE_RESTART",
    1013: "TRY_AGAIN_LATER",
    1014: "BAD_GATEWAY",
    1015: "TLS_HANDSHAKE",
}


def refused(code: Any, reason: Any = "") -> str | None:
    """What `check_close` says against it."""
    try:
        check_close(code, reason)
    except LocalProtocolError as exc:
        return str(exc)
    return None


# contract: C3
def test_every_code_there_is() -> None:
    """A close frame has 16 bits for it (RFC 6455 §5.5.1)."""
    assert {code for code in range(2**16) if refused(code) is None} == SENDABLE


@pytest.mark.parametrize("code", [-1, -1000, 2**16, 2**16 + 1000, 2**64])
def test_a_number_that_does_not_fit(code: int) -> None:
    assert refused(code) is not None


def test_the_sentence_names_the_code_and_the_ranges() -> None:
    assert refused(CloseCode.ABNORMAL_CLOSURE) == (
        "close code 1006 may not be sent: use 1000-1003, 1007-1014, or 3000-4999"
    )


@pytest.mark.parametrize("code", [None, "1000", 1000.0, True, False, b"1000", 1000j])
def test_a_code_that_is_no_int(code: Any) -> None:
    with pytest.raises(TypeError, match=f"must be an int, such as 1000, got {type(code).__name__}"):
        check_close(code, "")


@pytest.mark.parametrize("reason", [None, b"bye", 1, ["bye"]])
def test_a_reason_that_is_no_text(reason: Any) -> None:
    with pytest.raises(TypeError, match=f"reason must be a str, got {type(reason).__name__}"):
        check_close(1000, reason)


@pytest.mark.parametrize("character", ["x", "é", "€", "😀", "\0"])
def test_a_reason_is_measured_in_bytes(character: str) -> None:
    size = len(character.encode())
    longest = character * (MAX_REASON_BYTES // size)
    assert refused(1000, longest) is None
    assert refused(1000, longest + "x" * (MAX_REASON_BYTES - len(longest.encode()))) is None
    assert refused(1000, longest + character) is not None


def test_a_reason_that_is_too_long_says_how_long() -> None:
    assert refused(1000, "é" * 62) == (
        "the close reason has 124 bytes in UTF-8: shorten it to at most 123"
    )


@pytest.mark.parametrize("reason", ["\ud800", "bye \udfff"])
def test_a_reason_with_a_lone_surrogate(reason: str) -> None:
    assert "lone surrogate" in str(refused(1000, reason))


def test_the_code_is_looked_at_first() -> None:
    with pytest.raises(LocalProtocolError, match="code 1005"):
        check_close(1005, "x" * 1000)


def test_the_registered_names() -> None:
    assert {int(code): code.name for code in CloseCode} == REGISTERED


@pytest.mark.parametrize("code", CloseCode)
def test_a_close_code_is_its_number(code: CloseCode) -> None:
    assert code == int(code)
    assert f"{code}" == str(int(code))
    assert (refused(code) is None) == (code in SENDABLE)
    assert pickle.loads(pickle.dumps(code)) is code


def test_what_may_not_be_sent_says_so_in_its_name() -> None:
    assert {code.name for code in CloseCode if refused(code)} == {
        "NO_STATUS_RECEIVED",
        "ABNORMAL_CLOSURE",
        "TLS_HANDSHAKE",
    }
