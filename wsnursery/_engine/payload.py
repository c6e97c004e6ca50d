"""What may be sent, and how large it is. One pass over a text both measures and checks it."""

from __future__ import annotations

from typing import Any

from wsnursery._types import Message


def size_of(message: Message) -> int:
    """The payload's size on the wire, in bytes."""
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())


def sized(message: Any) -> tuple[Message, int]:
    """A message as it is queued, with its size in bytes.

    Raises:
        TypeError: It is neither text nor binary.
        ValueError: The text holds a lone surrogate.
    """
    if isinstance(message, str):
        return message, len(message) if message.isascii() else _encoded_size(message)
    if isinstance(message, bytes):
        return message, len(message)
    if isinstance(message, bytearray) or type(message) is memoryview:
        copy = bytes(message)  # because the caller may change its own
        return copy, len(copy)
    raise TypeError(
        "a message must be str, bytes, bytearray or memoryview, got "
        f"{type(message).__name__}: use send_json() or publish_json() for other objects"
    )


def payload(message: Any) -> Message:
    """A message as it is queued; raises as `sized` does."""
    return sized(message)[0]


def _encoded_size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"the text holds a lone surrogate at index {exc.start}: UTF-8 cannot encode it"
        ) from None
