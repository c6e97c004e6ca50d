"""JSON, and the interface for libraries that write and read it: `Codec`."""

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
"""Converts a message to an object, or raises a `ValueError`."""


@runtime_checkable
class Codec(Protocol):
    """Writes and reads JSON for `WebSocket.send_json`, `WebSocket.receive_as` and rooms.

    The module ``msgspec.json`` is a codec without changes: ``Options(codec=msgspec.json)``. The
    page on messages has codecs for orjson and pydantic.
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
            message: The message from the peer.
            type: The required type, as given to `WebSocket.receive_as`. Without it, any JSON.

        Raises:
            ValueError: The message is not JSON of that type.
        """
        ...


class ReadsJSON(Protocol[T_co]):
    """A type that reads JSON itself, such as pydantic's ``TypeAdapter``."""

    def validate_json(self, message: str | bytes, /) -> T_co:
        """Read JSON, or raise a `ValueError`."""
        ...


@dataclass(frozen=True)
class StandardCodec:
    """The JSON of the standard library, without support for types."""

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
"""The default codec."""


def encoded(codec: Codec, obj: Any) -> str:
    """Encode an object as JSON text. The codec raises if it cannot."""
    text = codec.encode(obj)
    return text if isinstance(text, str) else text.decode()


def reader(codec: Codec, wanted: Any) -> Read:
    """Return the function that reads messages of a type: the type's own, otherwise the codec's.

    Raises:
        TypeError: Neither can read it.
    """
    for name in ("model_validate_json", "validate_json"):
        read = getattr(wanted, name, None)
        if read is not None:
            return read  # type: ignore[no-any-return]
    if isinstance(codec, StandardCodec):
        codec.decode("", type=wanted)  # raises
    return partial(codec.decode, type=wanted)


def decoded(read: Read, message: Message, kind: str = "JSON") -> Any:
    """Convert a message to an object.

    Args:
        read: The function that reads it.
        message: The message from the peer.
        kind: What the message must be, for the error.

    Raises:
        InvalidPayload: The message is not of that kind.
    """
    try:
        return read(message)
    except (ValueError, RecursionError) as exc:
        raise InvalidPayload(
            f"the peer sent a message that is not {kind}: {shown(str(exc))}", message
        ) from exc


def shown_type(wanted: Any) -> str:
    """Return the name of a type, for an error."""
    return str(getattr(wanted, "__name__", wanted))


def kind_of(wanted: Any) -> str:
    """Describe what a message of a type must be, for the error about one that is not."""
    return f"a valid {wanted.__name__}" if isinstance(wanted, type) else "valid"
