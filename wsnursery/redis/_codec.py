"""Converts a message and its key to the bytes that Redis keeps and pushes, and back."""

from __future__ import annotations

from wsnursery.rooms import Carried, Outgoing

TEXT, BINARY, KEYED_TEXT, KEYED_BINARY = b"t", b"b", b"T", b"B"


def encode(outgoing: Outgoing) -> bytes:
    """Write the kind, then the length and the key if there is a key, then the payload."""
    message, key = outgoing.message, outgoing.key
    is_text = isinstance(message, str)
    data = message.encode() if isinstance(message, str) else message
    if key is None:
        return (TEXT if is_text else BINARY) + data
    encoded_key = key.encode()
    kind = KEYED_TEXT if is_text else KEYED_BINARY
    return b"%b%d:%b%b" % (kind, len(encoded_key), encoded_key, data)


def decode(body: bytes) -> Carried:
    """Read the bytes of `encode`.

    Raises:
        ValueError: The bytes are not from `encode`.
    """
    kind, data = body[:1], body[1:]
    key = None
    if kind in (KEYED_TEXT, KEYED_BINARY):
        length, _, rest = data.partition(b":")
        key, data = rest[: int(length)].decode(), rest[int(length) :]
    if kind in (TEXT, KEYED_TEXT):
        return Carried(data.decode(), key)
    if kind in (BINARY, KEYED_BINARY):
        return Carried(data, key)
    raise ValueError(f"unknown kind of message: {kind!r}")
