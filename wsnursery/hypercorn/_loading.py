"""From the name of an application to the application, or to a sentence that says what is wrong."""

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
        name: ``"module:name"``; the name may have dots and is ``app`` if it is left out. With
            ``()`` behind it, it is a function that makes the application.
        factory: The same for a name without parentheses.

    Raises:
        DeploymentError: There is no such module, it has no such name, or it is no application.
        Exception: What the module or the function raised.
    """
    module, _, attributes = name.partition(":")
    is_call = attributes.endswith("()")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise  # the application is there, and lacks something itself
        raise DeploymentError(f"cannot load the application {name!r}: {exc}") from exc
    try:
        app = reduce(getattr, (attributes.removesuffix("()") or "app").split("."), found)
    except AttributeError as exc:
        raise DeploymentError(f"cannot load the application {name!r}: {exc}") from exc
    if is_call or factory:
        if not callable(app):
            raise DeploymentError(
                f"{name!r} must be a function that makes the application, not {_kind(app)}"
            )
        app = app()
    return check_app(app, name)


def check_app(app: Any, name: str | None = None) -> ASGIApp:
    """Give an application back if it can be called as one.

    Args:
        app: What was given or found.
        name: Where it was found.

    Raises:
        DeploymentError: It cannot be called with scope, receive and send.
    """
    given = f"{'this' if name is None else repr(name)} is {_kind(app)}"
    wanted = "an ASGI application is a callable with three arguments: scope, receive and send"
    if not callable(app):
        raise DeploymentError(f"{wanted}; {given}")
    # An object around a handler may show the signature of the handler, so ask its method.
    called = app.__call__ if inspect.isfunction(type(app).__call__) else app
    try:
        signature = inspect.signature(called, follow_wrapped=False)
    except (TypeError, ValueError):  # some builtins have none
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
