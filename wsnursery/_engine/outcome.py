"""The rule for what the ``async with`` block raises. It has no side effects.

*Own* is the `WebSocketDisconnected` of this connection, wherever it is in nested groups, and the
`ClosedResourceError` of a task that has not closed it itself. The first row that fits applies:

=========================================================  =========================================
what happened                                              what leaves the block
=========================================================  =========================================
`KeyboardInterrupt` or `SystemExit` anywhere               that one, bare
only the body failed                                       its exception itself, bare (a group of
                                                           the user's own keeps its form)
only a part without a caller failed                        that exception itself, bare (a message
                                                           of ``send_nowait`` that the server
                                                           refused, a server's protocol error)
a child failed, or several things did                      an `ExceptionGroup` of all the errors in
                                                           the order in which they happened
cancelled from outside                                     the cancellation, unchanged
own escaped from the body                                  that exception itself
own escaped from a child that was handling an error        that exception itself
own escaped from the body in a group                       own, bare
the end interrupted the body                               own, bare
messages were lost and no call was notified                own, bare
otherwise: the body ended by itself                        nothing
=========================================================  =========================================

Own and cancellations are removed from groups before the rows are checked. If an application error
leaves after the connection has ended, the error carries a note of the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias, cast

from wsnursery._errors import WebSocketDisconnected

Leaf: TypeAlias = Callable[[BaseException], bool]


class Raiser(Enum):
    """Where an exception was raised."""

    BODY = auto()
    CHILD = auto()
    CONNECTION = auto()
    """Outside of the application's calls: the server failed, or refused a queued message."""


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception that left the body, a child or a service task."""

    raiser: Raiser
    error: BaseException


def decide(
    failures: Sequence[Raised],
    *,
    cancellation: BaseException | None,
    own: Callable[[], WebSocketDisconnected] | None,
    owed: bool,
    noted: bool,
    is_own: Leaf,
    is_cancellation: Leaf,
) -> BaseException | None:
    """Return what the block raises, or `None`.

    Args:
        failures: Everything that was raised, in the order in which it happened.
        cancellation: The cancellation from outside, if there is one.
        own: Makes the exception with the facts of the end; `None` if there was no end.
        owed: Whether the end interrupted the body, or lost messages without notifying any call.
        noted: Whether an error of the application gets a note of the end.
        is_own: Returns whether an exception is about this connection's end.
        is_cancellation: Returns whether an exception is the backend's cancellation.
    """
    errors: list[Raised] = []
    for failure in failures:
        for leaf in leaves(failure.error):
            if isinstance(leaf, KeyboardInterrupt | SystemExit):
                return leaf
        rest = without(failure.error, lambda exc: is_own(exc) or is_cancellation(exc))
        if rest is not None:
            errors.append(Raised(failure.raiser, rest))
    if errors:
        error = _as_one(errors)
        if noted and own is not None and not _has_in_context(error, is_own):
            with suppress(Exception):  # an exception may refuse to be changed
                error.add_note(f"meanwhile {own()}")
        return error
    if cancellation is not None:
        return cancellation
    for failure in failures:
        if isinstance(failure.error, WebSocketDisconnected) and (
            failure.raiser is Raiser.BODY or hidden_error(failure.error, is_own, is_cancellation)
        ):
            return failure.error
        if failure.raiser is Raiser.BODY:
            # For a group, raise a new exception. The old one would be raised through frames that
            # hold the group, which would form a reference cycle with the handler's frame in it.
            owed = owed or any(map(is_own, leaves(failure.error)))
    return own() if owed and own is not None else None


def hidden_error(own: BaseException, is_own: Leaf, is_cancellation: Leaf) -> BaseException | None:
    """Return the application's error that was being handled when a call raised ``own``.

    A handler that sends a last message in ``except`` or ``finally`` loses its error if the peer has
    gone: the disconnect leaves, and only its context leads to the error.
    """
    seen: set[int] = set()
    context = own.__context__
    while context is not None and id(context) not in seen:
        # A group may contain only this connection's end.
        if without(context, lambda exc: is_own(exc) or is_cancellation(exc)) is not None:
            return context
        seen.add(id(context))
        context = context.__context__
    return None


def leaves(error: BaseException) -> list[BaseException]:
    """Yield the exceptions in nested groups, or the exception itself if it is not a group."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for member in group.exceptions for leaf in leaves(member)]


def without(error: BaseException, unwanted: Leaf) -> BaseException | None:
    """Return an exception or group without its unwanted leaves; itself if none is removed."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        unwanted_part, rest = group.split(unwanted)
        return group if unwanted_part is None else rest
    return None if unwanted(error) else error


def _as_one(errors: Sequence[Raised]) -> BaseException:
    if len(errors) == 1 and errors[0].raiser is not Raiser.CHILD:
        return errors[0].error
    return BaseExceptionGroup(
        "unhandled errors in the tasks of a WebSocket", [failure.error for failure in errors]
    )


def _has_in_context(error: BaseException, wanted: Leaf) -> bool:
    seen: set[int] = set()
    context: BaseException | None = error
    while context is not None and id(context) not in seen:
        if wanted(context):
            return True
        seen.add(id(context))
        context = context.__cause__ or context.__context__
    return False
