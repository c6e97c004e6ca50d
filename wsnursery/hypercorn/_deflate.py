"""permessage-deflate that inflates no more than the largest allowed message."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

if TYPE_CHECKING:
    from wsproto.frame_protocol import FrameDecoder, FrameProtocol


class BoundedDeflate(PerMessageDeflate):
    """wsproto's extension with a limit. By itself it inflates all data of a read: 64 MB from 64 kB.

    A message that is too large is inflated to one byte more than the limit, so that Hypercorn
    refuses it with 1009, like a message without compression.

    Args:
        limit: The largest message, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._room = limit + 1
        """Bytes that the current message may still have."""

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """Inflate a part of a frame, up to the limit."""
        if not (self._inbound_compressed and self._inbound_is_compressible):
            return data
        if self._room == 0:
            return b""  # the message has already exceeded the limit, so Hypercorn closes with 1009
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
        """End a frame. After the last frame of a message, the limit starts again."""
        if self._room == 0:
            return None
        if fin and self._inbound_is_compressible:
            self._room = self._limit + 1
        return super().frame_inbound_complete(proto, fin)
