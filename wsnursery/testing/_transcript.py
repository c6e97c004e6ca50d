"""The transcript: what crossed the wire, in order, and the violations of the application."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from wsnursery._types import Message

Party: TypeAlias = Literal["app", "peer", "server"]
Verb: TypeAlias = Literal[
    "connect",  # the application received the connect event
    "accept",
    "deny",
    "send",
    "receive",
    "close",
    "vanish",
    "disconnect",  # the application received the disconnect event
    "late",  # the application sent to a peer that is gone
    "fail",  # a raw call raised, or was cancelled
    "end",  # the application returned or raised
]

_ATTRIBUTE = "_wsnursery_transcripts"
_MAX_LINES = 100
"""The most lines of a transcript that an exception carries. Its last lines are kept."""


@dataclass(frozen=True, slots=True)
class TranscriptEntry:
    """One event. ``str()`` is its line in the transcript."""

    time: float
    """Seconds since the connection was made, on the clock of the test."""
    party: Party
    verb: Verb
    message: Message | None = None
    """The payload, if the entry has one."""
    code: int | None = None
    """The close code or the HTTP status, if the entry has one."""
    detail: str = ""
    """The close reason, or the text of an error."""

    def __str__(self) -> str:
        parts: list[str] = [f"{self.party} {self.verb}"]
        if self.message is not None:
            parts.append(repr(self.message))
        if self.code is not None:
            parts.append(str(self.code))
        if self.detail:
            parts.append(self.detail)
        return " ".join(parts)


class Transcript:
    """Everything that happened on one connection, in order.

    Compare its parts with plain ``assert``::

        assert client.transcript.from_app == ["hello", "bye"]
        assert client.transcript.app_close == (1000, "")
        assert client.transcript.lines == ["app accept", "app send 'hello'", ...]
    """

    def __init__(self) -> None:
        self._entries: list[TranscriptEntry] = []
        self._violations: list[str] = []

    def __iter__(self) -> Iterator[TranscriptEntry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __str__(self) -> str:
        return "\n".join(f"{entry.time:9.3f}  {entry}" for entry in self._entries)

    def add(self, entry: TranscriptEntry) -> None:
        """Append one entry (the server does this)."""
        self._entries.append(entry)

    def record_violation(self, violation: str) -> None:
        """Record a violation of the ASGI rules (the server does this)."""
        self._violations.append(violation)

    @property
    def lines(self) -> list[str]:
        """Every entry as a line of text, without the times."""
        return [str(entry) for entry in self._entries]

    @property
    def from_app(self) -> list[Message]:
        """The messages that the server took from the application, in order."""
        return self._messages("app", "send")

    @property
    def from_peer(self) -> list[Message]:
        """The messages that the peer sent, in order."""
        return self._messages("peer", "send")

    @property
    def received_by_app(self) -> list[Message]:
        """The messages that the application received from the server, in order."""
        return self._messages("app", "receive")

    @property
    def app_close(self) -> tuple[int | None, str] | None:
        """The code and reason of the application's close; ``None`` if it sent none."""
        for entry in self._entries:
            if entry.party == "app" and entry.verb == "close":
                return entry.code, entry.detail
        return None

    @property
    def violations(self) -> list[str]:
        """The violations of the ASGI rules by the application, one sentence each."""
        return list(self._violations)

    def _messages(self, party: Party, verb: Verb) -> list[Message]:
        return [
            entry.message
            for entry in self._entries
            if entry.party == party and entry.verb == verb and entry.message is not None
        ]


def attach(transcript: Transcript, error: BaseException) -> None:
    """Attach the transcript as text to an exception that leaves a test.

    It is not a note (PEP 678), because ``pytest.raises(match=...)`` also matches notes.
    """
    lines = str(transcript).splitlines()[-_MAX_LINES:]
    vars(error).setdefault(_ATTRIBUTE, []).append("\n".join(lines))


def attached(error: BaseException) -> list[str]:
    """Return the transcripts that an exception carries."""
    found: list[str] = vars(error).get(_ATTRIBUTE, [])
    return found
