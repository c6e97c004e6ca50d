"""The public names: `serve` in a running event loop, and `run` for a whole process."""

import subprocess
import sys
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import hypercorn.config
import pytest

import wsnursery.hypercorn
from wsnursery import testing, websocket_app
from wsnursery.hypercorn import Config, DeploymentError, run, serve

app = websocket_app(lambda ws: ws.accept())


def config(**settings: Any) -> Any:
    return Config.from_mapping({"bind": "127.0.0.1:0", "loglevel": "ERROR", **settings})


async def test_it_serves_until_the_trigger() -> None:
    asked: list[int] = []

    async def trigger() -> None:
        asked.append(1)

    async with testing.no_leaks():
        await serve(app, config(), shutdown_trigger=trigger)
    assert asked == [1]


async def test_it_serves_until_it_is_cancelled() -> None:
    async with testing.no_leaks(), anyio.create_task_group() as group:
        (address,) = await group.start(partial(serve, app, config()))
        assert address.startswith("http://127.0.0.1:")
        group.cancel_scope.cancel()


async def test_hypercorns_own_configuration_will_do() -> None:
    theirs = hypercorn.config.Config.from_mapping(bind="127.0.0.1:0", loglevel="ERROR")
    await serve(app, theirs, shutdown_trigger=anyio.lowlevel.checkpoint)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"drain_timeout": -1}, "cannot drain so"),
        ({"drain_spread": 60}, "cannot drain so"),
        ({"drain_code": 1}, "cannot drain so"),
        ({"drain_reason": "x" * 200}, "cannot drain so"),
    ],
    ids=str,
)
async def test_a_drain_that_makes_no_sense(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeploymentError, match=problem):
        await serve(app, config(), **given)


async def test_what_cannot_be_started() -> None:
    with pytest.raises(DeploymentError, match="set both certfile and keyfile"):
        await serve(app, config(certfile="cert.pem"))


def test_run_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(
        wsnursery.hypercorn, "serve_process", lambda *call, factory: served.append(call)
    )
    chosen = config()
    assert run(app, chosen) == 0
    ((what, how, sockets),) = served
    assert (what, how) == (app, chosen)
    (listener,) = sockets.insecure_sockets
    listener.close()


def test_run_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    class Workers:
        def __init__(self, app: str, config: Config, sockets: Any, *, factory: bool) -> None:
            assert not factory
            assert (app, config.workers) == ("module:app", 3)
            (listener,) = sockets.insecure_sockets
            listener.close()

        def run(self) -> int:
            return 9

    monkeypatch.setattr(wsnursery.hypercorn, "Workers", Workers)
    assert run("module:app", config(workers=3)) == 9


def test_run_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, config(worker_class="gevent")) == 1
    assert capsys.readouterr().err == (
        "worker_class must be one of asyncio, trio, uvloop, got 'gevent'\n"
    )


def test_run_with_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Any] = []

    def check(_app: Any, config: Any) -> None:
        checked.append(config)
        raise DeploymentError("enough")

    monkeypatch.setattr(wsnursery.hypercorn, "check", check)
    assert run(app) == 1
    assert type(checked[0]) is Config
    assert vars(checked[0]) == {}


WITHOUT_HYPERCORN = """
import sys
sys.modules["hypercorn"] = None
try:
    import wsnursery.hypercorn
except ImportError as exc:
    print(exc)
"""


def test_without_hypercorn(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HYPERCORN],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (
        done.stdout == "wsnursery.hypercorn needs Hypercorn: pip install 'wsnursery[hypercorn]'\n"
    )
    for name in [*sys.modules]:
        if name.partition(".")[0] == "hypercorn":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "wsnursery.hypercorn")
    with pytest.raises(ImportError, match="needs Hypercorn"):
        import wsnursery.hypercorn as _  # noqa: F401


def test_the_names_are_public() -> None:
    assert all(name in wsnursery.hypercorn.__all__ for name in ("Config", "run", "serve"))
    assert Config.__module__ == DeploymentError.__module__ == "wsnursery.hypercorn"
