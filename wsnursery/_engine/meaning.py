"""What a failure of the application means to a framework around the block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .events import Close
from .states import State


@dataclass(frozen=True, slots=True)
class Meaning:
    """How the block is left after one failure."""

    failure: BaseException
    """The failure: one exception of the body or of a child."""
    close: Close | None
    """What is sent to the peer. `None` leaves a handshake unanswered: the framework denies it."""
    error: Exception
    """What the block raises in place of the failure: often the failure itself."""


Interpreter: TypeAlias = Callable[[BaseException, State], Meaning | None]
"""Called with the only failure of an application and the state of the connection at that moment.
Returns `None` if the failure has no special meaning."""


def meaningless(_error: BaseException, _state: State) -> None:
    """Give no special meaning to any failure, because there is no framework."""
