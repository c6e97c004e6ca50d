"""How an application is imported, and the errors for objects that are not applications."""

from pathlib import Path
from typing import Any

import pytest

from wsnursery import WebSocket, websocket_app
from wsnursery.hypercorn import DeploymentError
from wsnursery.hypercorn._loading import check_app, load


@pytest.fixture
def anyio_backend() -> str:
    """No event loop runs here."""
    return "asyncio"


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


async def of_many(*arguments: Any) -> None: ...


class App:
    """An application with a method."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@websocket_app
async def decorated(ws: WebSocket) -> None: ...


def wsgi(environ: Any, start_response: Any) -> None: ...


def make() -> Any:
    return asgi


settings = {"debug": True}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of modules that can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_application_is_found(modules: Path) -> None:
    code = "from tests.hypercorn.test_loading import asgi, App\napp = App()\n"
    code += "class site:\n    app = asgi\n"
    (modules / "deployed_here.py").write_text(code)
    assert load("deployed_here:site.app") is asgi
    assert load("deployed_here:app") is load("deployed_here")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no_such_module_anywhere:app", "No module named 'no_such_module_anywhere'"),
        ("tests.no_such_module.inner:app", "No module named 'tests.no_such_module'"),
        ("tests:application", "has no attribute 'application'"),
    ],
)
def test_an_application_that_is_not_there(name: str, problem: str) -> None:
    with pytest.raises(DeploymentError) as caught:
        load(name)
    assert str(caught.value).startswith(f"cannot load the application {name!r}: ")
    assert problem in str(caught.value)


def test_an_application_that_lacks_something_itself(modules: Path) -> None:
    (modules / "deployed_badly.py").write_text("import no_such_module_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        load("deployed_badly:app")


@pytest.mark.parametrize(
    "app",
    [asgi, of_many, App(), decorated, App().__call__],
    ids=["function", "function of many", "object", "decorated", "method"],
)
def test_these_are_applications(app: Any) -> None:
    assert check_app(app) is app


def test_a_builtin_whose_signature_is_unknown_passes() -> None:
    app: Any = max
    assert check_app(app) is app


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        (settings, "this is a dict$"),
        (wsgi, r"this is a function with \(environ: Any, start_response: Any\) -> None$"),
        (App, r"this is a class with \(\)"),
        (make, r"If it makes the application, use --factory, or 'module:name\(\)'$"),
    ],
    ids=["dict", "WSGI", "class", "factory"],
)
def test_these_are_none(app: Any, problem: str) -> None:
    with pytest.raises(DeploymentError, match=problem) as caught:
        check_app(app)
    assert "three arguments: scope, receive and send" in str(caught.value)


HERE = "tests.hypercorn.test_loading"


def test_a_factory_makes_it() -> None:
    assert load(f"{HERE}:make()") is asgi
    assert load(f"{HERE}:make", factory=True) is asgi


@pytest.mark.parametrize("factory", [False, True])
def test_what_cannot_be_called_makes_nothing(factory: bool) -> None:
    with pytest.raises(DeploymentError, match="must be a function that makes the application, got"):
        load(f"{HERE}:settings{'' if factory else '()'}", factory=factory)


def test_what_a_factory_makes_is_checked_too() -> None:
    with pytest.raises(DeploymentError, match="test_loading:wsgi' is a function"):
        load(f"{HERE}:wsgi")
