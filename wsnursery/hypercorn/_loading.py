"""Import an application by its name, or say in one sentence what is wrong."""

from __future__ import annotations

import importlib
import inspect
from functools import reduce
from typing import Any, cast

from ._config import DeploymentError
from ._drain import ASGIApp


def load(name: str, *, factory: bool = False) -> ASGIApp:
    """Import an application.

    Args:
        name: ``"module:name"``. The name may have dots; the default is ``app``. A name that ends
            with ``()`` is a function that makes the application.
        factory: Whether a name without parentheses is such a function.

    Raises:
        DeploymentError: There is no such module or name, or the object is not an application.
        Exception: Any exception of the module or the function.
    """
    module, _, attributes = name.partition(":")
    is_call = attributes.endswith("()")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise  # the module of the application exists, and an import inside it failed
        raise DeploymentError(f"cannot load the application {name!r}: {exc}") from exc
    try:
        app = reduce(getattr, (attributes.removesuffix("()") or "app").split("."), found)
    except AttributeError as exc:
        raise DeploymentError(f"cannot load the application {name!r}: {exc}") from exc
    if is_call or factory:
        if not callable(app):
            raise DeploymentError(
                f"{name!r} must be a function that makes the application, got {_kind(app)}"
            )
        app = app()
    return check_app(app, name)


def check_app(app: Any, name: str | None = None) -> ASGIApp:
    """Return an application if it can be called as one.

    Args:
        app: The object.
        name: Its name, if it was imported.

    Raises:
        DeploymentError: It cannot be called with scope, receive and send.
    """
    given = f"{'this' if name is None else repr(name)} is {_kind(app)}"
    wanted = "an ASGI application is a callable with three arguments: scope, receive and send"
    if not callable(app):
        raise DeploymentError(f"{wanted}; {given}")
    # Check the method, because an object around a handler may have the handler's signature.
    called = app.__call__ if inspect.isfunction(type(app).__call__) else app
    try:
        signature = inspect.signature(called, follow_wrapped=False)
    except (TypeError, ValueError):  # some builtins have no signature
        return cast("ASGIApp", app)
    try:
        signature.bind(None, None, None)
    except TypeError:
        hint = ""
        try:
            signature.bind()
        except TypeError:
            pass
        else:
            hint = ". If it makes the application, use --factory, or 'module:name()'"
        raise DeploymentError(f"{wanted}; {given} with {signature}{hint}") from None
    return cast("ASGIApp", app)


def _kind(app: object) -> str:
    return "a class" if inspect.isclass(app) else f"a {type(app).__name__}"
