"""permessage-deflate that inflates no more than one message may have."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

if TYPE_CHECKING:
    from wsproto.frame_protocol import FrameDecoder, FrameProtocol


class BoundedDeflate(PerMessageDeflate):
    """The extension of wsproto, which by itself inflates whatever a read brings: 64 MB from 64 kB.

    A message that is too large comes out one byte larger than the limit, so that Hypercorn refuses
    it as it refuses one that came without compression: with 1009.

    Args:
        limit: The largest message, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._room = limit + 1
        """Bytes that the message under way may still have."""

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """Inflate a part of a frame, up to the limit."""
        if not (self._inbound_compressed and self._inbound_is_compressible):
            return data
        if self._room == 0:
            return b""  # the close with 1009 is on its way
        inflater: Any = self._decompressor
        try:
            inflated: bytes = inflater.decompress(bytes(data), self._room)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._room -= len(inflated)
        return inflated

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """End a frame; the last one of a message gives the next message its room."""
        if self._room == 0:
            return None
        if fin and self._inbound_is_compressible:
            self._room = self._limit + 1
        return super().frame_inbound_complete(proto, fin)
