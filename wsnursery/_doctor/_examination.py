"""The order of the probes, and their findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ._client import Facts
from ._commands import Command
from ._lab import Lab, opened_lab
from ._process import CannotExamine

WAYS = ("close_frame", "reset", "fin", "half_close")
ENDS = ("return", "raise", "early-return", "early-raise", "close-1001", "close-1011")


@dataclass(frozen=True)
class ExaminationRun:
    """Scripts that run at the same time.

    Attributes:
        scripts: Kind, name and variant of each.
        early: Whether the clients send a message in the packet of the handshake.
        receive_buffer: The receive buffer of the clients, in bytes. It is small for clients that
            do not read.
    """

    scripts: tuple[str, ...]
    early: bool = False
    receive_buffer: int | None = None


OURS = (
    ExaminationRun(tuple(f"ours/leave/{way}-{role}" for way in WAYS for role in ("read", "busy"))),
    ExaminationRun(("ours/send_loop/",)),
    ExaminationRun(("ours/blocked_send/",), receive_buffer=8192),
    ExaminationRun(("ours/full_queue/",)),
    ExaminationRun(("ours/unread/",)),
    ExaminationRun(("ours/cancelled_receive/",)),
    ExaminationRun(("ours/concurrent_send/",), receive_buffer=8192),
    ExaminationRun(("ours/end/return", "ours/end/raise", "ours/end/close")),
    ExaminationRun(("ours/early_frame/",), early=True),
)
"""The probes on wsnursery. They must leave nothing behind in the process."""

WARM_UP = ExaminationRun(OURS[0].scripts[:1])
"""A first probe, which loads everything that connections share."""

RAW = (
    ExaminationRun(("raw/hello/",)),
    ExaminationRun(tuple(f"raw/leave/{way}" for way in WAYS)),
    ExaminationRun(
        tuple(
            f"raw/late_send/{way}-{known}"
            for way in ("close_frame", "reset")
            for known in ("received", "pending")
        )
    ),
    ExaminationRun(("raw/blocked_send/cancel", "raw/blocked_send/reset"), receive_buffer=8192),
    ExaminationRun(("raw/full_queue/",)),
    ExaminationRun(("raw/unread/",)),
    ExaminationRun(("raw/cancelled_receive/",)),
    ExaminationRun(("raw/concurrent_send/",), receive_buffer=8192),
    ExaminationRun(tuple(f"raw/end/{how}" for how in ENDS)),
    ExaminationRun(("raw/send_loop/",)),
    ExaminationRun(("raw/early_frame/",), early=True),
)
"""The probes against bare receive and send. The last one may end the server."""

SHUTDOWNS = (
    ExaminationRun(("ours/shutdown/",)),
    ExaminationRun(("raw/shutdown/receive", "raw/shutdown/sleep")),
)
"""Each ends its server. Each has its own, because one connection's end can affect others."""


@dataclass
class Findings:
    """The findings of the probes.

    Attributes:
        facts: The facts by script.
        left_over: What the connections on wsnursery left in the server's process, by kind.
    """

    facts: dict[str, Facts] = field(default_factory=dict[str, Facts])
    left_over: Facts = field(default_factory=dict[str, int])


def examine(command: Command, progress: Callable[[str], None]) -> Findings:
    """Start the server twice and run all probes.

    Args:
        command: The command that starts the server.
        progress: Called with the name of each group of probes.

    Raises:
        CannotExamine: The server does not start, or does not serve the probes.
    """
    findings = Findings()
    with opened_lab(command) as lab:
        _run(lab, WARM_UP, findings)
        if not findings.facts[WARM_UP.scripts[0]]["reached"]:
            raise CannotExamine(
                "the server's WebSockets do not reach the probe application: "
                f"{lab.process.last_words()}"
            )
        before = lab.process.settled_stats()
        for run in OURS:
            if run.early:  # some versions of Hypercorn do not survive it, whatever the application
                findings.left_over = _left_over(lab, before)
            progress(run.scripts[0])
            _run(lab, run, findings)
        if lab.process.answers():
            findings.left_over = _left_over(lab, before)
    with opened_lab(command) as lab:
        for run in RAW:
            progress(run.scripts[0])
            _run(lab, run, findings)
    for run in SHUTDOWNS:
        progress(run.scripts[0])
        with opened_lab(command) as lab:
            _run(lab, run, findings)
    return findings


def _left_over(lab: Lab, before: Facts) -> Facts:
    try:
        return lab.process.left_over(before)
    except OSError:
        return {"dead process": 1}


def _run(lab: Lab, run: ExaminationRun, findings: Findings) -> None:
    facts = lab.run(run.scripts, early=run.early, receive_buffer=run.receive_buffer)
    alive = lab.process.answers()
    findings.facts |= {script: {**found, "alive": alive} for script, found in facts.items()}
