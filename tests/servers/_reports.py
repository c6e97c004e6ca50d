"""What a served application tells the test that drives it: JSON lines in a file.

The times are those of `time.monotonic`, which all processes of a machine share.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENVIRONMENT_VARIABLE = "WSNURSERY_TEST_REPORT"


class Reporter:
    """The application's side, for one connection; without a name nobody listens."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._path = Path(os.environ[ENVIRONMENT_VARIABLE])

    def __call__(self, event: str, **facts: Any) -> None:
        if not self._connection:
            return
        record = {"id": self._connection, "event": event, "time": time.monotonic(), **facts}
        with self._path.open("a", encoding="utf-8") as file:  # one write, so lines stay whole
            file.write(json.dumps(record) + "\n")


@dataclass
class Record:
    """One line of the file."""

    id: str
    event: str
    time: float
    facts: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, fact: str) -> Any:
        return self.facts[fact]


def read(path: Path) -> Iterator[Record]:
    """The test's side: all records so far."""
    text = path.read_text(encoding="utf-8")
    for line in text[: text.rfind("\n") + 1].splitlines():
        facts = json.loads(line)
        yield Record(facts.pop("id"), facts.pop("event"), facts.pop("time"), facts)
