"""What a failure of the application means to a framework around the block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .events import Close
from .states import State


@dataclass(frozen=True, slots=True)
class Meaning:
    """How the block is left because of one failure."""

    failure: BaseException
    """What failed: one exception of the body or of a child."""
    close: Close | None
    """What is sent to the peer. `None` leaves a handshake unanswered: the framework denies it."""
    error: Exception
    """What the block raises in place of the failure: often the failure itself."""


Interpreter: TypeAlias = Callable[[BaseException, State], Meaning | None]
"""Is given the only failure of an application and the state in which it left the connection.
`None`: the failure means nothing special."""


def meaningless(_error: BaseException, _state: State) -> None:
    """Interpret nothing: without a framework a failure is a failure."""
