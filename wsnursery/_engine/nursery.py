"""The calls of a `WebSocket` that concern its tasks: `start_soon`, `start` and `cancel_scope`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple, overload

import anyio
from anyio import TaskHandle

from .children import Child, StartingChild

if TYPE_CHECKING:
    from .connection import Connection

T = TypeVar("T")
PosArgs = TypeVarTuple("PosArgs")


class Nursery:
    """The task group in `WebSocket`."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _connection(self) -> Connection: ...

    @property
    def cancel_scope(self) -> anyio.CancelScope:
        """The cancel scope of the body and the children.

        Cancelling it ends the connection like a normal end: the queue is flushed, the close is
        1000, and the block raises nothing.

        Raises:
            anyio.ClosedResourceError: After the block.
        """
        return self._connection.tasks.cancel_scope

    def start_soon(
        self,
        func: Callable[[*PosArgs], Coroutine[Any, Any, T]],
        *args: *PosArgs,
        name: object = None,
    ) -> TaskHandle[T]:
        """Start a child: a task that ends with this connection.

        As in any task group, a child that fails cancels the others, and the block raises an
        `ExceptionGroup`. A child from which this connection's `WebSocketDisconnected` escapes has
        simply ended.

        Args:
            func: An async function.
            *args: Its arguments. A type checker compares them with those of the function.
            name: The task's name, for debuggers.

        Returns:
            anyio's `TaskHandle`. ``await handle`` waits for the function's return value, and
            ``handle.cancel()`` cancels this child alone, which does not count as a failure.

        Raises:
            TypeError: It is not an async function, or the arguments do not fit. Nothing was
                started.
            anyio.ClosedResourceError: After the block.
            RuntimeError: Called from another thread or event loop. Nothing was started.

        *Checkpoint*: no. A plain callback of the event loop may call it too.
        """
        connection = self._connection
        connection.lifecycle.check_place()
        start = partial(_start_soon, connection, func, args, func if name is None else name)
        handle: TaskHandle[T] = connection.backend.with_anyio(start)
        return handle

    @overload
    async def start(
        self,
        func: Callable[..., Coroutine[Any, Any, object]],
        *args: object,
        name: object = None,
        return_handle: Literal[False] = ...,
    ) -> Any: ...

    @overload
    async def start(
        self,
        func: Callable[..., Coroutine[Any, Any, T]],
        *args: object,
        name: object = None,
        return_handle: Literal[True],
    ) -> TaskHandle[T, Any]: ...

    async def start(
        self,
        func: Callable[..., Coroutine[Any, Any, Any]],
        *args: object,
        name: object = None,
        return_handle: bool = False,
    ) -> Any:
        """Start a child and wait until it calls ``task_status.started(value)``.

        Args:
            func: An async function that takes a keyword argument ``task_status``.
            *args: Its positional arguments. Python's types cannot describe the parameters that a
                function has in addition to a keyword argument, so type checkers accept any
                arguments, as with anyio.
            name: The task's name, for debuggers.
            return_handle: Return a handle, as `start_soon` does, instead of the value.

        Returns:
            The value passed to ``started``, or anyio's handle, whose ``start_value`` it is.

        Raises:
            TypeError: It is not an async function, or the arguments do not fit.
            Exception: What the child raised before it had started.
            RuntimeError: The child returned without calling ``started``.
            anyio.ClosedResourceError: After the block.
            RuntimeError: Called from another thread or event loop. Nothing was started.

        *Checkpoint*: yes. *Cancellation*: cancels the child, as long as it has not started.
        """
        connection = self._connection
        connection.lifecycle.check_place()
        name = func if name is None else name
        child = StartingChild(func, args, name)
        try:
            value = await connection.tasks.start(
                child.begin, (), name, connection.lifecycle.own_exception
            )
            return child.started(value) if return_handle else value
        finally:
            child.handle = None


def _start_soon(
    connection: Connection, func: Any, args: tuple[Any, ...], name: object
) -> TaskHandle[Any]:
    child = Child(func, args, name)
    handle = child.handle
    try:
        connection.tasks.start_soon(child.begin, (), name)
    except BaseException:
        child.drop()
        raise
    return handle
