"""What a served application reports to the test that drives it: JSON lines in a file.

The times are those of `time.monotonic`, which all processes of a machine share.
"""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENVIRONMENT_VARIABLE = "WSNURSERY_TEST_REPORT"


class Reporter:
    """The application's side, for one connection; without a name nothing is written."""

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


class Records:
    """The test's side: all records so far, by connection. What is new is read at every look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._records: dict[str, list[Record]] = {}

    def of(self, connection: str) -> list[Record]:
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            facts = json.loads(line)
            record = Record(facts.pop("id"), facts.pop("event"), facts.pop("time"), facts)
            self._records.setdefault(record.id, []).append(record)
        return self._records.get(connection, [])
