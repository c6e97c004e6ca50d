"""A child that has not started: what `WebSocket.start_soon` and `WebSocket.start` check and return.

The handle is anyio's class. anyio makes a handle for each task that it starts, but that task is the
engine's: it records what the child raises and ends without an exception, because the block raises
it. So each child gets a separate handle, which reports the outcome of the child itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from anyio import TaskHandle

from .functions import shown_name

T = TypeVar("T")


class Child:
    """A child that is started with `WebSocket.start_soon`.

    The function is called at once, so that the traceback of a wrong call shows the user's line.
    The code of an async function does not run before its task does.

    Args:
        func: The user's function.
        args: Its arguments.
        name: The name of the task.

    Raises:
        TypeError: It is not an async function, or the arguments do not fit.
    """

    __slots__ = ("_coroutine", "handle")

    def __init__(self, func: Any, args: tuple[Any, ...], name: object) -> None:
        _check_function("start_soon", func)
        self._coroutine = _called("start_soon", func, args)
        self.handle: TaskHandle[Any, Any] = _handle_of(self._coroutine, name)

    def begin(self) -> Coroutine[Any, Any, None]:
        """What the task of the child awaits."""
        handle = self.handle
        # The handle keeps the exception, whose traceback has the frame that holds this object.
        del self.handle
        return _run(handle)

    def drop(self) -> None:
        """Close the coroutine of a child that will not start; Python would warn about it."""
        self.handle.coro.close()
        self._coroutine.close()


class StartingChild:
    """A child that is started with `WebSocket.start`, and calls ``task_status.started()``.

    Args:
        func: The user's function.
        args: Its positional arguments.
        name: The name of the task.

    Raises:
        TypeError: It is not an async function.
    """

    __slots__ = ("_call", "_name", "handle")

    def __init__(self, func: Any, args: tuple[Any, ...], name: object) -> None:
        _check_function("start", func)
        self._call = partial(_called, "start", func, args)
        self._name = name
        self.handle: TaskHandle[Any, Any] | None = None

    def begin(self, *, task_status: Any) -> Coroutine[Any, Any, None]:
        """What the task of the child awaits."""
        self.handle = _handle_of(self._call(task_status=task_status), self._name)
        return _run(self.handle)

    def started(self, value: object) -> TaskHandle[Any, Any]:
        """The handle, with the value that the child has passed to ``started``."""
        handle = self.handle
        assert handle is not None
        handle._start_value = value  # pyright: ignore[reportPrivateUsage]
        return handle


def _check_function(call: str, func: Any) -> None:
    """Refuse what cannot be called, for instance a coroutine.

    Raises:
        TypeError: It cannot be called.
    """
    if isinstance(func, Coroutine):
        name = shown_name(func)
        func.close()
        raise TypeError(
            f"{call}() needs the async function and its arguments, got a coroutine of {name}(): "
            f"write {call}({name}, ...) instead of {call}({name}(...))"
        )
    if not callable(func):
        raise TypeError(f"{call}() needs an async function, got {type(func).__name__}")


def _called(
    call: str, func: Callable[..., Any], args: tuple[Any, ...], **status: Any
) -> Coroutine[Any, Any, Any]:
    """Call an async function, or raise an error that says why the function is not async."""
    made = func(*args, **status)
    if isinstance(made, Coroutine):
        return made  # pyright: ignore[reportUnknownVariableType]
    name = shown_name(func)
    if hasattr(made, "__aiter__"):
        advice = "read it with `async for` in an async function, and start that"
    else:
        advice = f"write `async def {name}`, or run it with anyio.to_thread.run_sync if it blocks"
    raise TypeError(
        f"{call}() needs an async function, but {name}() returned {type(made).__name__}: {advice}"
    )


def _handle_of(coroutine: Coroutine[Any, Any, T], name: object) -> TaskHandle[T, Any]:
    return TaskHandle(coroutine, shown_name(name))


def _run(handle: TaskHandle[Any, Any]) -> Coroutine[Any, Any, None]:
    # anyio has no public way to run the coroutine of a handle.
    return handle._run_coro()  # pyright: ignore[reportPrivateUsage]
