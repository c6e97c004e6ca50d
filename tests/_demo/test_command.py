"""``python -m wsnursery demo``: its arguments, and what it serves."""

import socket
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import wsnursery
from wsnursery.__main__ import main
from wsnursery._demo import command
from wsnursery._demo.application import Demonstration
from wsnursery.hypercorn import Config


class Served:
    """What would have been served."""

    app: Demonstration
    config: Config
    port: int

    def __call__(self, app: Any, config: Any, sockets: Any, trigger: Callable[[], Any]) -> None:
        self.app, self.config = app, config
        (listener,) = sockets.insecure_sockets
        self.port = listener.getsockname()[1]
        listener.close()

        async def press_the_button() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(trigger)
                await anyio.wait_all_tasks_blocked()
                app.stop()

        anyio.run(press_the_button, backend=config.worker_class)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    calls = Served()
    monkeypatch.setattr(command, "serve_process", calls)
    return calls


def test_where_and_on_what(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--bind", "localhost:0", "--backend", "asyncio"]) == 0
    assert served.config.worker_class == "asyncio"
    out, err = capsys.readouterr()
    assert f"on Hypercorn and asyncio: open\n\n    http://localhost:{served.port}/\n" in out
    assert err == ""


def test_by_default_trio_on_loopback(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PORT", 0)
    assert command.main([]) == 0
    assert served.config.worker_class == "trio"
    assert served.config.bind == ["127.0.0.1:0"]
    assert f"http://127.0.0.1:{served.port}/" in capsys.readouterr().out


# The socket that Hypercorn could not bind is closed when its traceback has gone.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_port_that_is_taken(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert command.main(["--bind", address]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"cannot listen on {address}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bind", "8000"],
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
    assert "usage: python -m wsnursery demo" in capsys.readouterr().err


def test_without_hypercorn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [*sys.modules]:
        if name.startswith(("wsnursery._demo.", "wsnursery._hypercorn", "wsnursery.hypercorn")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(wsnursery, "hypercorn")
    monkeypatch.setitem(sys.modules, "hypercorn.config", None)
    monkeypatch.setitem(sys.modules, "hypercorn", None)
    assert main([]) == 1
    assert capsys.readouterr().err.endswith("pip install 'wsnursery[hypercorn]'\n")
