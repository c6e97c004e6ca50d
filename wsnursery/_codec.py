"""JSON, and the seam for libraries that write and read it: `Codec`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from ._errors import InvalidPayload, shown
from ._types import Message

T_co = TypeVar("T_co", covariant=True)

Read = Callable[[Message], Any]
"""Turns a message into what it says, or raises a `ValueError`."""


@runtime_checkable
class Codec(Protocol):
    """Writes and reads JSON for `WebSocket.send_json`, `WebSocket.receive_as` and rooms.

    The module ``msgspec.json`` is one as it stands: ``Options(codec=msgspec.json)``. The page on
    messages has those for orjson and pydantic.
    """

    def encode(self, obj: Any, /) -> str | bytes:
        """Write an object as JSON.

        Raises:
            Exception: The object cannot be written.
        """
        ...

    def decode(self, message: str | bytes, /, *, type: Any = ...) -> Any:  # noqa: A002 - msgspec's name
        """Read JSON.

        Args:
            message: What the peer sent.
            type: What it must be, as given to `WebSocket.receive_as`. Without it, any JSON.

        Raises:
            ValueError: It is not that.
        """
        ...


class ReadsJSON(Protocol[T_co]):
    """What reads JSON by itself, such as pydantic's ``TypeAdapter``."""

    def validate_json(self, message: str | bytes, /) -> T_co:
        """Read JSON, or raise a `ValueError`."""
        ...


@dataclass(frozen=True)
class StandardCodec:
    """The standard library's JSON, which knows no types."""

    def encode(self, obj: Any, /) -> str:
        """Write JSON without white space, and refuse NaN and infinity, because JSON has none."""
        return json.dumps(obj, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def decode(self, message: str | bytes, /, *, type: Any = None) -> Any:  # noqa: A002
        """Read any JSON."""
        if type is not None:
            name = shown_type(type)
            raise TypeError(
                f"the standard library cannot read JSON as {name}: use a pydantic model, or "
                "another codec, such as Options(codec=msgspec.json)"
            )
        return json.loads(message)


STANDARD = StandardCodec()
"""The default."""


def encoded(codec: Codec, obj: Any) -> str:
    """An object as JSON text, or the exception of the codec that says why it is none."""
    text = codec.encode(obj)
    return text if isinstance(text, str) else text.decode()


def reader(codec: Codec, wanted: Any) -> Read:
    """What reads messages of a type: the type itself if it can, otherwise the codec.

    Raises:
        TypeError: Neither can.
    """
    for name in ("model_validate_json", "validate_json"):
        read = getattr(wanted, name, None)
        if read is not None:
            return read  # type: ignore[no-any-return]
    if isinstance(codec, StandardCodec):
        codec.decode("", type=wanted)  # raises
    return partial(codec.decode, type=wanted)


def decoded(read: Read, message: Message, kind: str = "JSON") -> Any:
    """What a message says.

    Args:
        read: Reads it.
        message: What the peer sent.
        kind: What it must be, for the error.

    Raises:
        InvalidPayload: It is not that.
    """
    try:
        return read(message)
    except (ValueError, RecursionError) as exc:
        raise InvalidPayload(
            f"the peer sent a message that is not {kind}: {shown(str(exc))}", message
        ) from exc


def shown_type(wanted: Any) -> str:
    """The name of a type, for an error."""
    return str(getattr(wanted, "__name__", wanted))


def kind_of(wanted: Any) -> str:
    """What a message of a type must be, for the error of one that is not."""
    return f"a valid {wanted.__name__}" if isinstance(wanted, type) else "valid"
