"""The questions, and the rows with their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import _answers
from ._answers import Answer, Verdict
from ._client import Facts
from ._examination import ENDS, WAYS, Findings


@dataclass(frozen=True)
class Question:
    """One respect in which servers differ.

    Attributes:
        name: One or two words.
        asks: The question.
        raw: Describes the server's behaviour, from the facts of `raw_scripts` in their order.
        ours: Describes the result on wsnursery, from the facts of `our_scripts`.
        does: What wsnursery does about it, or what to configure.
    """

    name: str
    asks: str
    raw_scripts: tuple[str, ...]
    our_scripts: tuple[str, ...]
    raw: Callable[[list[Facts]], str]
    ours: Callable[[list[Facts]], Answer] | None
    does: str


@dataclass(frozen=True)
class Row:
    """A question with its answers."""

    name: str
    asks: str
    server: str
    wsnursery: str
    verdict: Verdict
    does: str


def rows(findings: Findings) -> list[Row]:
    """Answer all questions from the findings."""
    return [*(_row(question, findings) for question in QUESTIONS), _nothing_left(findings)]


def _row(question: Question, findings: Findings) -> Row:
    raw = [findings.facts[script] for script in question.raw_scripts]
    ours = [findings.facts[script] for script in question.our_scripts]
    server = _server_words(question, raw)
    answer = _our_answer(question, ours)
    return Row(question.name, question.asks, server, answer.words, answer.verdict, question.does)


def _server_words(question: Question, raw: list[Facts]) -> str:
    if not all(facts["over"] for facts in raw):
        return "the server did not let the probe end"
    if not all(facts["reached"] for facts in raw):
        return f"the application is not called; the client sees {_answers.seen(raw[0])}"
    return question.raw(raw)


def _our_answer(question: Question, ours: list[Facts]) -> Answer:
    if question.ours is None:
        return Answer("", Verdict.NONE)
    if not all(facts["over"] for facts in ours):
        return Answer("the handler did not end", Verdict.BROKEN)
    if not all(facts["reached"] for facts in ours):
        return Answer("the handler is not called", Verdict.HOLDS)
    return question.ours(ours)


def _nothing_left(findings: Findings) -> Row:
    left = ", ".join(f"{count} {what}" for what, count in findings.left_over.items())
    return Row(
        "nothing left",
        "After all these connections, what is left behind in the server's process?",
        "",
        left or "no task and no descriptor",
        Verdict.BROKEN if left else Verdict.HOLDS,
        "waits for every task of a block, and keeps receiving until the server reports the end",
    )


QUESTIONS = (
    Question(
        "announces",
        "Which version of ASGI does the server announce?",
        ("raw/hello/",),
        (),
        _answers.announcement,
        None,
        "does not rely on it: the disconnect event, OSError and a table of known exceptions decide",
    ),
    Question(
        "close codes",
        "The client goes away: which code does the application get?",
        tuple(f"raw/leave/{way}" for way in WAYS),
        tuple(f"ours/leave/{way}-{role}" for way in WAYS for role in ("read", "busy")),
        _answers.codes,
        _answers.our_codes,
        "always has a receive pending, and passes on the first code that the server gives",
    ),
    Question(
        "late send",
        "What does a send to a client that is gone do?",
        tuple(
            f"raw/late_send/{way}-{known}"
            for way in ("close_frame", "reset")
            for known in ("received", "pending")
        ),
        ("ours/send_loop/",),
        _answers.late_sends,
        _answers.disconnected,
        "raises WebSocketDisconnected as soon as the end is known, without calling the server",
    ),
    Question(
        "late receive",
        "What does a receive after the disconnect do?",
        ("raw/late_send/close_frame-received", "raw/late_send/reset-received"),
        (),
        _answers.late_receives,
        None,
        "raises WebSocketDisconnected at every call, without calling the server",
    ),
    Question(
        "send loop",
        "Does a loop that sends to a client that is gone let other tasks run?",
        ("raw/send_loop/",),
        ("ours/send_loop/",),
        _answers.loop,
        _answers.our_loop,
        "makes every send a checkpoint",
    ),
    Question(
        "blocked send",
        "The client stops reading: what happens to a send?",
        ("raw/blocked_send/cancel", "raw/blocked_send/reset"),
        ("ours/blocked_send/",),
        _answers.blocked,
        _answers.our_blocked,
        "ends a stuck send after Options.send_timeout",
    ),
    Question(
        "full queue",
        "Unread messages are queued, the client resets, the application sends: what happens?",
        ("raw/full_queue/",),
        ("ours/full_queue/",),
        _answers.full,
        _answers.disconnected,
        'keeps receiving while it sends; use incoming="discard" for handlers that only push',
    ),
    Question(
        "unread",
        "The application does not receive, the client floods: how much does the server take?",
        ("raw/unread/",),
        ("ours/unread/",),
        _answers.unread,
        _answers.our_unread,
        "limits what it buffers, by Options.receive_buffer and receive_buffer_bytes",
    ),
    Question(
        "cancelled receive",
        "Timeouts around receive: are messages lost?",
        ("raw/cancelled_receive/",),
        ("ours/cancelled_receive/",),
        _answers.losses,
        _answers.our_losses,
        "never cancels the server's receive while its result is needed",
    ),
    Question(
        "concurrent sends",
        "Eight tasks send at once to a slow client: what arrives?",
        ("raw/concurrent_send/",),
        ("ours/concurrent_send/",),
        _answers.whole,
        _answers.our_whole,
        "lets one raw send run at a time, in order",
    ),
    Question(
        "end of handler",
        "The application ends without closing: what does the client see?",
        tuple(f"raw/end/{how}" for how in ENDS[:4]),
        ("ours/end/return", "ours/end/raise", "raw/end/close-1011"),
        _answers.ends,
        _answers.our_ends,
        "closes with 1000, or with 1011 after an error",
    ),
    Question(
        "own close",
        "Which close codes can the application send?",
        tuple(f"raw/end/{how}" for how in ENDS[4:]),
        ("ours/end/close", "raw/end/close-1001"),
        _answers.closing,
        _answers.our_closing,
        "sends one close frame after the queued messages; if its code is refused, another one",
    ),
    Question(
        "early frame",
        "The first message is in the packet of the handshake: what happens?",
        ("raw/early_frame/",),
        ("ours/early_frame/",),
        _answers.early,
        _answers.our_early,
        "lets the server finish with the packet before it accepts",
    ),
    Question(
        "shutdown",
        "The server gets SIGTERM: what do the application and the client see, and when?",
        ("raw/shutdown/receive", "raw/shutdown/sleep"),
        ("ours/shutdown/",),
        _answers.shutdown,
        _answers.our_shutdown,
        "closes with 1001 if the server cancels it; ends with the disconnect event if there is one",
    ),
)
