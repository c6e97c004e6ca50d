"""``python -m examples.demonstration``: its arguments, and what it serves."""

import signal
import socket
from typing import Any

import pytest

from examples.demonstration import __main__ as command
from examples.demonstration.application import Demonstration
from wsnursery import hypercorn


class Served:
    """What would have been served."""

    app: Demonstration
    config: hypercorn.Config
    address: tuple[str, int]

    def __call__(self, app: Any, config: Any) -> int:
        self.app, self.config = app, config
        (bound,) = config.bind
        with socket.socket(fileno=int(bound.removeprefix("fd://"))) as listener:
            self.address = listener.getsockname()[:2]
        return 7


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    calls = Served()
    monkeypatch.setattr(hypercorn, "run", calls)
    return calls


def test_where_and_on_what(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--bind", "localhost:0", "--backend", "asyncio"]) == 7
    assert served.config.worker_class == "asyncio"
    out, err = capsys.readouterr()
    address = f"http://localhost:{served.address[1]}/"
    assert f"on Hypercorn and asyncio: open\n\n    {address}\n" in out
    assert err == ""


def test_by_default_trio_on_loopback(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PORT", 0)
    assert command.main([]) == 7
    assert served.config.worker_class == "trio"
    assert served.address[0] == "127.0.0.1"
    assert f"http://127.0.0.1:{served.address[1]}/" in capsys.readouterr().out


def test_ipv6(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--bind", "[::1]:0"]) == 7
    assert served.address[0] == "::1"
    assert f"http://[::1]:{served.address[1]}/" in capsys.readouterr().out


def test_the_button_that_stops_it_is_as_sigterm(served: Served) -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: got.append(number))
    try:
        command.main(["--bind", "127.0.0.1:0"])
        served.app.stop()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == [signal.SIGTERM]


def test_a_port_that_is_taken(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert command.main(["--bind", address]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"cannot listen on {address}: ")
    assert "--bind HOST:PORT" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bind", "8000"],
        ["--bind", "127.0.0.1:65536"],
        ["--bind", "unix:/tmp/x"],
        ["--bind", "::1:8000"],
        ["--bind", "a b:1"],
        ["--backend", "curio"],
        ["more"],
    ],
)
def test_a_mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m examples.demonstration" in capsys.readouterr().err
