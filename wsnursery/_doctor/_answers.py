"""The facts of the probes as text, with the verdict on the contract."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ._client import Facts
from ._examination import WAYS
from ._ours import CHILDREN
from ._raw import MOST_BYTES

PROMPT = 2.0
"""Seconds within which a handler must end. Its clean-up needs only a hundredth of that."""

LONG = 10.0
"""The same for probes that first exchange many messages."""


class Verdict(StrEnum):
    """Whether the contract holds in one respect."""

    HOLDS = "holds"
    LIMITED = "limited"
    """The contract holds as far as the server allows."""
    BROKEN = "broken"
    NONE = "-"
    """The contract promises nothing here."""


@dataclass(frozen=True)
class Answer:
    """What a handler sees through wsnursery."""

    words: str
    verdict: Verdict


def _judged(good: bool, words: str) -> Answer:
    return Answer(words, Verdict.HOLDS if good else Verdict.BROKEN)


def _ended_well(facts: Facts, outcome: str | None, within: float = PROMPT) -> bool:
    """Return whether the block was left with this outcome, in time, after the clean-up."""
    return (
        facts.get("outcome", "none was noted") == outcome
        and not facts["group"]
        and facts["cleaned"] == CHILDREN
        and facts["seconds"] < within
    )


def _outcome(facts: Facts) -> str:
    """Describe the outcome of a block that did not end well."""
    if "outcome" not in facts:
        return "the process ended first"
    return (
        f"{facts['outcome'] or 'no exception'} after {facts['seconds']} s, "
        f"{facts['cleaned']} of {CHILDREN} children cleaned up"
    )


def disconnected(ours: list[Facts]) -> Answer:
    facts = ours[0]
    if _ended_well(facts, "WebSocketDisconnected"):
        return Answer("one WebSocketDisconnected; the children are cancelled", Verdict.HOLDS)
    return Answer(_outcome(facts), Verdict.BROKEN)


def _ended(facts: Facts, outcome: str | None, words: str) -> Answer:
    good = _ended_well(facts, outcome)
    return _judged(good, words if good else _outcome(facts))


# ----------------------------------------------------------------------- what a call did


def _call(facts: Facts) -> str:
    """Describe the outcome of one raw call."""
    if facts["outcome"] == "raised":
        kind = "" if facts["is_os_error"] else ", which is not an OSError"
        return f"raises {facts['error']}{kind}"
    if facts["outcome"] == "hangs":
        return f"does not return within {facts['seconds']:.1f} s"
    return "returns without an error"


def _calls(results: Iterable[Facts]) -> str:
    """Describe the outcomes of several calls, without repetition."""
    return ", then ".join(dict.fromkeys(map(_call, results)))


def _grouped(answers: Iterable[tuple[str, str]]) -> str:
    """Write pairs of case and answer as text, with cases of the same answer together."""
    cases: dict[str, list[str]] = {}
    for case, answer in answers:
        cases.setdefault(answer, []).append(case)
    if len(cases) == 1:
        return next(iter(cases))
    return "; ".join(f"{', '.join(same)}: {answer}" for answer, same in cases.items())


# ------------------------------------------------------------------------- the questions


def announcement(raw: list[Facts]) -> str:
    version = raw[0]["spec_version"]
    announced = f"ASGI {version}" if version else "no ASGI version"
    denial = "websocket.http.response" in raw[0]["extensions"]
    return f"announces {announced}, denial responses: {'yes' if denial else 'no'}"


WAY_NAMES = {
    "close_frame": "close 4001",
    "reset": "reset",
    "fin": "FIN",
    "half_close": "half-close",
}


def codes(raw: list[Facts]) -> str:
    return _grouped((WAY_NAMES[way], _code(facts)) for way, facts in zip(WAYS, raw, strict=True))


def _code(facts: Facts) -> str:
    if facts["outcome"] == "returned":
        reason = f" with reason {facts['reason']!r}" if facts["reason"] else ""
        return f"code {facts['code']}{reason}"
    return f"receive {_call(facts)}"


def our_codes(ours: list[Facts]) -> Answer:
    readers, busy = ours[::2], ours[1::2]
    bad = [facts for facts in readers if not _ended_well(facts, None)]
    bad += [facts for facts in busy if not _ended_well(facts, "WebSocketDisconnected")]
    if bad:
        return Answer("; ".join(map(_outcome, bad)), Verdict.BROKEN)
    codes = _grouped(
        (WAY_NAMES[way], f"code {f['read_code']}") for way, f in zip(WAYS, readers, strict=True)
    )
    return Answer(
        f"a reading loop ends, a busy handler gets one WebSocketDisconnected ({codes}); "
        "children are cancelled at once",
        Verdict.HOLDS,
    )


def late_sends(raw: list[Facts]) -> str:
    cases = (
        "close frame (event received)",
        "close frame (event pending)",
        "reset (event received)",
        "reset (event pending)",
    )
    return _grouped((case, _calls(f["sends"])) for case, f in zip(cases, raw, strict=True))


def late_receives(raw: list[Facts]) -> str:
    answers: list[tuple[str, str]] = []
    for case, facts in zip(("after a close frame", "after a reset"), raw, strict=True):
        result = facts["receive"]
        again = f"gives another disconnect with code {result.get('code')}"
        answers.append((case, again if result["outcome"] == "returned" else _call(result)))
    return _grouped(answers)


def loop(raw: list[Facts]) -> str:
    facts = raw[0]
    if facts["outcome"] == "raised":
        return f"the loop ends: send {_call(facts)}"
    if facts["ticks"] == 0:
        return f"{facts['sent']} sends succeed and no other task of the process runs meanwhile"
    return f"{facts['sent']} sends succeed; other tasks run in between"


def blocked(raw: list[Facts]) -> str:
    cancel, reset = raw
    if not cancel["blocks"]:
        return f"send never waits: {_megabytes(cancel['sent'])} are taken into memory"
    stuck = "" if cancel["cancellable"] else " and cannot be cancelled"
    freed = _call(reset["send"]) if reset["freed"] else "stays blocked"
    event = reset["receive"]
    code = _code(event) if event["outcome"] == "returned" else "no disconnect event"
    return (
        f"send waits after {_megabytes(cancel['sent'])}{stuck}; "
        f"when the client resets, it {freed} ({code})"
    )


def _megabytes(count: int) -> str:
    """Write a rough size, because the kernel's buffers differ from run to run."""
    return f"{count / 1e6:.0f} MB" if count > 500_000 else "less than 1 MB"


def _after(facts: Facts) -> str:
    return f"after {facts['seconds']:.0f} s" if facts["seconds"] > 0.5 else "at once"


def our_blocked(ours: list[Facts]) -> Answer:
    facts = ours[0]
    if not facts["blocks"]:
        good = _ended_well(facts, "WebSocketDisconnected")
        words = "the same: there is no backpressure for the handler" if good else _outcome(facts)
        return Answer(words, Verdict.LIMITED if good else Verdict.BROKEN)
    good = facts["unwound"] < PROMPT and facts.get("outcome") == "WebSocketDisconnected"
    if not good:
        return Answer(_outcome(facts), Verdict.BROKEN)
    words = "send_timeout frees the handler"
    if facts["needs_reset"]:
        return Answer(f"{words}; the block is left when the client leaves", Verdict.LIMITED)
    return Answer(f"{words} and the block is left", Verdict.HOLDS)


def full(raw: list[Facts]) -> str:
    facts = raw[0]
    event = facts["receive"]
    lost = "" if event["outcome"] == "returned" else "; the disconnect event is lost"
    return f"send {_calls(facts['sends'])}{lost}"


def unread(raw: list[Facts]) -> str:
    taken = raw[0]["taken"]
    if taken >= MOST_BYTES:
        return f"keeps reading without a limit: {_megabytes(taken)} are in its memory"
    return f"stops reading: the server and the kernel buffer {_megabytes(taken)}"


def our_unread(ours: list[Facts]) -> Answer:
    facts = ours[0]
    if not _ended_well(facts, None, LONG):
        return Answer(_outcome(facts), Verdict.BROKEN)
    words = f"keeps {facts['kept']} messages"
    if facts["taken"] >= MOST_BYTES:
        return Answer(f"{words}; the rest is in the server's memory", Verdict.LIMITED)
    return Answer(f"{words}, then stops reading from the server", Verdict.HOLDS)


def losses(raw: list[Facts]) -> str:
    return f"{raw[0]['lost']} of {raw[0]['sent']} messages are lost"


def our_losses(ours: list[Facts]) -> Answer:
    facts = ours[0]
    if not _ended_well(facts, None, LONG):
        return Answer(_outcome(facts), Verdict.BROKEN)
    return _judged(facts["lost"] == 0, losses(ours))


def whole(raw: list[Facts]) -> str:
    facts = raw[0]
    failed = f"; send {_call(facts['failed'])}" if facts.get("failed") else ""
    return f"{facts['whole']} of {facts['sent']} messages arrive whole{failed}"


def our_whole(ours: list[Facts]) -> Answer:
    facts = ours[0]
    if not _ended_well(facts, None, LONG):
        return Answer(_outcome(facts), Verdict.BROKEN)
    return _judged(facts["whole"] == facts["sent"], whole(ours))


def seen(facts: Facts) -> str:
    """Describe how the client sees the end."""
    client = facts["client"]
    if client["status"] is None:
        return "nothing" if client["end"] == "open" else f"{client['end']} and no answer"
    if client["status"] != 101:
        return f"HTTP {client['status']}"
    if client["end"] == "close":
        return f"close {client['code']}" if client["code"] else "a close frame without a code"
    if client["end"] == "open":
        return "an open connection"
    return f"{client['end']} without a close frame"


def ends(raw: list[Facts]) -> str:
    cases = ("it returns", "it raises", "it returns before accept", "it raises before accept")
    return _grouped((case, seen(facts)) for case, facts in zip(cases, raw, strict=True))


def our_ends(ours: list[Facts]) -> Answer:
    """Answer for wsnursery, and check whether the server accepts 1011."""
    returned, raised, raw = ours
    words = f"it returns: {seen(returned)}; it raises: {seen(raised)}"
    good = _ended_well(returned, None) and _ended_well(raised, "LookupError")
    good = good and returned["client"].get("code") == 1000 and raised["client"]["end"] == "close"
    if good and raw["outcome"] == "raised":
        return Answer(f"{words}, because the server refuses 1011", Verdict.LIMITED)
    return _judged(good and raised["client"]["code"] == 1011, words)


def closing(raw: list[Facts]) -> str:
    """Describe a close with each code."""
    return _grouped(zip(("1001", "1011"), map(_closed, raw), strict=True))


def _closed(facts: Facts) -> str:
    call = "" if facts["outcome"] == "returned" else f"send {_call(facts)}, and "
    return f"{call}the client sees {seen(facts)}"


def our_closing(ours: list[Facts]) -> Answer:
    """Answer for wsnursery, with 1001, and check whether the server accepts that code."""
    facts, raw = ours
    if not _ended_well(facts, None):
        return Answer(_outcome(facts), Verdict.BROKEN)
    words = f"1001: the client sees {seen(facts)}"
    if raw["outcome"] == "raised":
        return Answer(f"{words}, because the server refuses it", Verdict.LIMITED)
    return _judged(facts["client"]["end"] == "close", words)


def early(raw: list[Facts]) -> str:
    facts = raw[0]
    if not facts["alive"]:
        return f"the client sees {seen(facts)}, and the server's process ends"
    if facts["accept"]["outcome"] == "raised":
        return f"accept {_call(facts['accept'])}; the client sees {seen(facts)}"
    if facts.get("receive", {}).get("event") == "websocket.receive":
        return "the message is delivered"
    return f"the message is not delivered; the client sees {seen(facts)}"


def our_early(ours: list[Facts]) -> Answer:
    """Answer for wsnursery."""
    facts = ours[0]
    if not facts["alive"] and facts.get("outcome") in ("Cancelled", "CancelledError"):
        return Answer("the server's process ends before the handler accepts", Verdict.LIMITED)
    good = bool(facts["alive"]) and facts.get("outcome") in (None, "WebSocketDisconnected")
    delivered = "delivered" if "received" in facts else "not delivered"
    served = "keeps serving" if facts["alive"] else "is gone"
    return _judged(good, f"the server {served}; the message is {delivered}")


def shutdown(raw: list[Facts]) -> str:
    cases = ("waiting in receive", "busy")
    notified = _grouped(zip(cases, map(_notified, raw), strict=True))
    return f"{notified}; the client sees {_grouped(zip(cases, map(seen, raw), strict=True))}"


def _notified(facts: Facts) -> str:
    if "notified" not in facts:
        return "the process ends without notifying the application"
    notified = facts["notified"]
    if notified is None or notified["outcome"] == "hangs":
        return "the application is not notified"
    if notified["outcome"] == "cancelled":
        return f"the application is cancelled {_after(notified)}"
    return f"a disconnect event with code {notified['code']} {_after(notified)}"


def our_shutdown(ours: list[Facts]) -> Answer:
    facts = ours[0]
    if "outcome" not in facts:
        return Answer(
            f"the process ends before the block is left; the client sees {seen(facts)}",
            Verdict.LIMITED,
        )
    good = facts["client"]["end"] == "close" and facts["cleaned"] == CHILDREN
    return _judged(good, f"the block is left, and the client sees {seen(facts)}")


def our_loop(ours: list[Facts]) -> Answer:
    """Answer for a loop that only sends, on wsnursery."""
    return _ended(ours[0], "WebSocketDisconnected", "the loop ends")
