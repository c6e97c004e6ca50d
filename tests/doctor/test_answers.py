"""The facts in words: what a server may do, and whether the contract is kept."""

from typing import Any

import pytest

from tests.doctor._found import CUT, ENDED, EVENT, GONE, LEFT, RETURNED, closed, facts_of
from wsnursery._doctor import _answers
from wsnursery._doctor._answers import Verdict
from wsnursery._doctor._raw import MOST_BYTES

HANGS = {"outcome": "hangs", "seconds": 0.5}
FOREIGN = {**GONE, "error": "RuntimeError", "is_os_error": False}
LATE = {"seconds": 11.0}
NO_COMMENT: dict[str, Any] = {"over": True, "reached": True, "alive": True, "client": LEFT}
"""Of a handler whose process ended first."""


def changed(script: str, **facts: Any) -> dict[str, Any]:
    return {**facts_of(script), **facts}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"spec_version": "2.4"}, "announces ASGI 2.4, denial responses: yes"),
        (
            {"spec_version": None, "extensions": []},
            "announces no ASGI version, denial responses: no",
        ),
    ],
)
def test_announcement(facts: Any, words: str) -> None:
    assert _answers.announcement([changed("raw/hello/", **facts)]) == words


def test_codes() -> None:
    quiet = {**EVENT, "reason": None, "code": 1006}
    assert _answers.codes([quiet] * 4) == "code 1006"
    assert _answers.codes([EVENT, quiet, HANGS, quiet]) == (
        "close 4001: code 4001 with reason 'bye'; reset, half-close: code 1006; "
        "FIN: receive does not return within 0.5 s"
    )


def test_our_codes() -> None:
    reads, busy = facts_of("ours/leave/reset-read"), facts_of("ours/leave/reset-busy")
    answer = _answers.our_codes([reads, busy] * 4)
    assert answer.verdict is Verdict.HOLDS
    assert "(code 4001); children are cancelled at once" in answer.words


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({**ENDED, **LATE}, "no exception after 11.0 s, 2 of 2 children cleaned up"),
        ({**CUT, "cleaned": 1}, "WebSocketDisconnected after 0.01 s, 1 of 2 children cleaned up"),
        ({**CUT, "group": True}, "WebSocketDisconnected after 0.01 s, 2 of 2 children cleaned up"),
        (NO_COMMENT, "the process ended first"),
    ],
)
def test_our_codes_that_break_the_contract(bad: Any, words: str) -> None:
    reads, busy = facts_of("ours/leave/reset-read"), facts_of("ours/leave/reset-busy")
    good = [reads, busy] * 3
    for pair in ([bad, busy], [reads, bad]):
        answer = _answers.our_codes([*good, *pair])
        assert answer == _answers.Answer(words, Verdict.BROKEN)


@pytest.mark.parametrize("facts", [CUT, {**CUT, **LATE}])
def test_disconnected(facts: Any) -> None:
    verdict = Verdict.HOLDS if facts is CUT else Verdict.BROKEN
    assert _answers.disconnected([facts]).verdict is verdict


def test_late_sends() -> None:
    silent = {"sends": [RETURNED] * 5}
    assert _answers.late_sends([silent] * 4) == "returns without an error"
    mixed = {"sends": [RETURNED, GONE, GONE]}
    foreign = {"sends": [FOREIGN]}
    assert _answers.late_sends([silent, mixed, foreign, foreign]) == (
        "close frame (event received): returns without an error; "
        "close frame (event pending): returns without an error, "
        "then raises BrokenPipeError; "
        "reset (event received), reset (event pending): "
        "raises RuntimeError, which is not an OSError"
    )


def test_late_receives() -> None:
    assert _answers.late_receives([{"receive": EVENT}, {"receive": HANGS}]) == (
        "after a close frame: gives another disconnect with code 4001; "
        "after a reset: does not return within 0.5 s"
    )


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({**GONE, "sent": 0}, "the loop ends: send raises BrokenPipeError"),
        ({**RETURNED, "sent": 9, "ticks": 0}, "9 sends succeed and no other task"),
        ({**RETURNED, "sent": 9, "ticks": 3}, "9 sends succeed; other tasks run in between"),
    ],
)
def test_loop(facts: Any, words: str) -> None:
    assert _answers.loop([facts]).startswith(words)


def test_our_loop() -> None:
    assert _answers.our_loop([CUT]) == _answers.Answer("the loop ends", Verdict.HOLDS)
    assert _answers.our_loop([{**CUT, **LATE}]).verdict is Verdict.BROKEN


def test_blocked() -> None:
    facts = facts_of("raw/blocked_send/")
    assert _answers.blocked([facts, facts]) == (
        "send waits after 3 MB; when the client resets, it raises BrokenPipeError "
        "(code 4001 with reason 'bye')"
    )
    stuck = {**facts, "cancellable": False, "freed": False, "receive": HANGS}
    assert _answers.blocked([stuck, stuck]) == (
        "send waits after 3 MB and cannot be cancelled; when the client resets, "
        "it stays blocked (no disconnect event)"
    )
    early = {**facts, "sent": 0}
    assert _answers.blocked([early, early]).startswith("send waits after less than 1 MB; ")
    endless = {**facts, "blocks": False, "sent": MOST_BYTES}
    assert _answers.blocked([endless, endless]).startswith("send never waits: 34 MB")


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({}, Verdict.HOLDS),
        ({"needs_reset": True}, Verdict.LIMITED),
        ({"unwound": 9}, Verdict.BROKEN),
        ({"outcome": None}, Verdict.BROKEN),
        ({"blocks": False}, Verdict.LIMITED),
        ({"blocks": False, **LATE}, Verdict.BROKEN),
    ],
)
def test_our_blocked(facts: Any, verdict: Verdict) -> None:
    assert _answers.our_blocked([changed("ours/blocked_send/", **facts)]).verdict is verdict


def test_full() -> None:
    facts = {"sends": [HANGS, RETURNED], "receive": HANGS}
    assert _answers.full([facts]) == (
        "send does not return within 0.5 s, then returns without an error; "
        "the disconnect event is lost"
    )
    assert _answers.full([facts_of("raw/full_queue/")]) == "send raises BrokenPipeError"


def test_unread() -> None:
    assert _answers.unread([{"taken": 3_000_000}]).endswith("buffer 3 MB")
    assert _answers.unread([{"taken": MOST_BYTES}]).startswith(
        "keeps reading without a limit: 34 MB"
    )


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [({}, Verdict.HOLDS), ({"taken": MOST_BYTES}, Verdict.LIMITED), (LATE, Verdict.BROKEN)],
)
def test_our_unread(facts: Any, verdict: Verdict) -> None:
    assert _answers.our_unread([changed("ours/unread/", **facts)]).verdict is verdict


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [({}, Verdict.HOLDS), ({"lost": 1}, Verdict.BROKEN), (LATE, Verdict.BROKEN)],
)
def test_our_losses(facts: Any, verdict: Verdict) -> None:
    assert _answers.our_losses([changed("ours/cancelled_receive/", **facts)]).verdict is verdict


def test_whole() -> None:
    assert _answers.whole([{"sent": 80, "whole": 27, "failed": FOREIGN}]) == (
        "27 of 80 messages arrive whole; send raises RuntimeError, which is not an OSError"
    )


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [({}, Verdict.HOLDS), ({"whole": 79}, Verdict.BROKEN), (LATE, Verdict.BROKEN)],
)
def test_our_whole(facts: Any, verdict: Verdict) -> None:
    assert _answers.our_whole([changed("ours/concurrent_send/", **facts)]).verdict is verdict


def seen(status: int | None, end: str, code: int | None = None) -> dict[str, Any]:
    return {"client": {"status": status, "end": end, "code": code}}


def test_ends() -> None:
    assert _answers.ends([closed(1011), closed(1011), seen(500, "FIN"), seen(500, "FIN")]) == (
        "it returns, it raises: close 1011; "
        "it returns before accept, it raises before accept: HTTP 500"
    )
    assert _answers.ends(
        [seen(101, "close"), seen(101, "open"), seen(None, "open"), seen(None, "RST")]
    ) == (
        "it returns: a close frame without a code; it raises: an open connection; "
        "it returns before accept: nothing; it raises before accept: RST and no answer"
    )


@pytest.mark.parametrize(
    ("returned", "raised", "verdict"),
    [
        ({}, {}, Verdict.HOLDS),
        (LATE, {}, Verdict.BROKEN),
        ({}, {"outcome": None}, Verdict.BROKEN),
        (closed(1005), {}, Verdict.BROKEN),
        ({}, seen(101, "FIN"), Verdict.BROKEN),
        ({}, closed(1000), Verdict.BROKEN),
    ],
)
def test_our_ends(returned: Any, raised: Any, verdict: Verdict) -> None:
    ours = [changed("ours/end/return", **returned), changed("ours/end/raise", **raised)]
    assert _answers.our_ends([*ours, RETURNED]).verdict is verdict


def test_our_ends_with_a_code_that_is_refused() -> None:
    ours = [facts_of("ours/end/return"), changed("ours/end/raise", **closed(4911)), FOREIGN]
    assert _answers.our_ends(ours) == _answers.Answer(
        "it returns: close 1000; it raises: close 4911, because the server refuses 1011",
        Verdict.LIMITED,
    )


def test_closing() -> None:
    good = {**RETURNED, **closed(1001)}
    bad = {**FOREIGN, **seen(101, "open")}
    assert _answers.closing([good, bad]) == (
        "1001: the client sees close 1001; 1011: send raises RuntimeError, which is not an "
        "OSError, and the client sees an open connection"
    )


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [({}, Verdict.HOLDS), (seen(101, "open"), Verdict.BROKEN), (LATE, Verdict.BROKEN)],
)
def test_our_closing(facts: Any, verdict: Verdict) -> None:
    ours = [changed("ours/end/close", **facts), RETURNED]
    assert _answers.our_closing(ours).verdict is verdict


def test_our_closing_with_a_code_that_is_refused() -> None:
    ours = [changed("ours/end/close", **seen(101, "open")), FOREIGN]
    assert _answers.our_closing(ours) == _answers.Answer(
        "1001: the client sees an open connection, because the server refuses it", Verdict.LIMITED
    )


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "the message is delivered"),
        ({"alive": False, **seen(400, "FIN")}, "HTTP 400, and the server's process ends"),
        ({"accept": FOREIGN, **seen(400, "FIN")}, "accept raises RuntimeError, which is no"),
        ({"receive": HANGS, **seen(101, "open")}, "is not delivered; the client sees an open"),
        ({"receive": {}, **seen(101, "FIN")}, "not delivered; the client sees FIN without"),
    ],
)
def test_early(facts: Any, words: str) -> None:
    assert words in _answers.early([changed("raw/early_frame/", **facts)])


@pytest.mark.parametrize(
    ("facts", "words", "verdict"),
    [
        ({}, "the server keeps serving; the message is delivered", Verdict.HOLDS),
        ({"outcome": "LookupError"}, "the server keeps serving", Verdict.BROKEN),
        ({"alive": False}, "the server is gone", Verdict.BROKEN),
        (
            {"alive": False, "outcome": "Cancelled"},
            "process ends before the handler accepts",
            Verdict.LIMITED,
        ),
    ],
)
def test_our_early(facts: Any, words: str, verdict: Verdict) -> None:
    answer = _answers.our_early([changed("ours/early_frame/", **facts)])
    assert words in answer.words
    assert answer.verdict is verdict


def test_our_early_without_the_message() -> None:
    facts = facts_of("ours/early_frame/")
    del facts["received"]
    assert "not delivered" in _answers.our_early([facts]).words


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "a disconnect event with code 4001 at once; the client sees close 1012"),
        ({"notified": None}, "the application is not notified; "),
        ({"notified": HANGS}, "the application is not notified; "),
        ({"notified": {"outcome": "cancelled", "seconds": 3.02}}, "is cancelled after 3 s; "),
    ],
)
def test_shutdown(facts: Any, words: str) -> None:
    facts = changed("raw/shutdown/receive", **facts)
    assert words in _answers.shutdown([facts, facts])


def test_shutdown_that_notifies_some_applications() -> None:
    facts = facts_of("raw/shutdown/receive")
    assert _answers.shutdown([facts, {**NO_COMMENT, **seen(101, "FIN")}]) == (
        "waiting in receive: a disconnect event with code 4001 at once; "
        "busy: the process ends without notifying the application; the client sees "
        "waiting in receive: close 1012; busy: FIN without a close frame"
    )


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({}, Verdict.HOLDS),
        ({"cleaned": 1}, Verdict.BROKEN),
        (seen(101, "FIN"), Verdict.BROKEN),
    ],
)
def test_our_shutdown(facts: Any, verdict: Verdict) -> None:
    assert _answers.our_shutdown([changed("ours/shutdown/", **facts)]).verdict is verdict


def test_our_shutdown_when_the_process_is_killed() -> None:
    answer = _answers.our_shutdown([{**NO_COMMENT, **seen(101, "FIN")}])
    assert answer.verdict is Verdict.LIMITED
