"""docs/tutorial.md as its reader has it: files with a name, and what is typed into terminals."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"

FILE = re.compile(
    r"^```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
CONSOLE = re.compile(r"^```console\n\$ (.*?)^```$", re.MULTILINE | re.DOTALL)
CLIENT = "python -m websockets "
SERVERS = ("hypercorn ", "python -m wsnursery serve ")


@dataclass
class Step:
    """A section of the page: what is in the directory now, and what is typed."""

    title: str
    files: dict[str, str]
    servers: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    """What a client is started with, and its terminal's further lines."""
    others: list[str] = field(default_factory=list)

    def write(self, directory: Path) -> None:
        for name, text in self.files.items():
            (directory / name).write_text(text, encoding="utf-8")


def steps() -> Iterator[Step]:
    """The steps in order; a later one has the files and the servers of the earlier ones."""
    files: dict[str, str] = {}
    servers: list[str] = []
    _, *sections = re.split(r"^## (?=\d)", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for section in sections:
        files = files | dict(FILE.findall(section))
        commands: list[str] = CONSOLE.findall(section)
        here = [command.strip() for command in commands if command.startswith(SERVERS)]
        servers = here or servers
        yield Step(
            section.partition("\n")[0],
            files,
            servers,
            [command for command in commands if command.startswith(CLIENT)],
            [command for command in commands if not command.startswith((CLIENT, *SERVERS))],
        )
