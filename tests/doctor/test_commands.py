"""What the user may give as a server."""

import shlex
import sys

import pytest

from wsnursery._doctor._commands import ALIASES, APPLICATION, KNOWN_SERVERS, parse


@pytest.mark.parametrize("name", [*KNOWN_SERVERS, *ALIASES])
def test_a_known_name_runs_with_this_interpreter(name: str) -> None:
    command = parse(name)
    filled = command.filled("127.0.0.1", 8000)
    assert filled[:2] == [sys.executable, "-m"]
    assert filled[2] == command.shown.split()[0]
    assert APPLICATION in filled
    assert not any("{" in word for word in filled)


def test_a_command() -> None:
    command = parse("hypercorn -k trio --config 'my file' {app} -b {bind}")
    assert command.filled("127.0.0.1", 8000) == shlex.split(
        f"hypercorn -k trio --config 'my file' {APPLICATION} -b 127.0.0.1:8000"
    )


def test_an_address_in_parts() -> None:
    filled = parse("uvicorn {app} --host={host} --port={port}").filled("::1", 80)
    assert filled[2:] == ["--host=::1", "--port=80"]


@pytest.mark.parametrize("text", ["", "  ", "hypercron"])
def test_an_unknown_name(text: str) -> None:
    with pytest.raises(ValueError, match="choose from hypercorn-trio, "):
        parse(text)


@pytest.mark.parametrize("text", ["hypercorn app:app", "hypercorn {app}", "serve -b {bind}"])
def test_a_command_without_its_places(text: str) -> None:
    with pytest.raises(ValueError, match="must contain"):
        parse(text)


def test_a_command_with_an_open_quotation() -> None:
    with pytest.raises(ValueError, match="quotation"):
        parse("hypercorn '{app} {bind}")
