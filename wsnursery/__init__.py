"""Structured concurrency for WebSockets: one task group per connection, on trio and asyncio."""

from ._codec import Codec as Codec
from ._codes import CloseCode as CloseCode
from ._engine.request import QueryParams as QueryParams
from ._engine.websocket import WebSocket as WebSocket
from ._errors import InvalidPayload as InvalidPayload
from ._errors import LocalProtocolError as LocalProtocolError
from ._errors import RemoteProtocolError as RemoteProtocolError
from ._errors import UnexpectedMessage as UnexpectedMessage
from ._errors import WebSocketDisconnected as WebSocketDisconnected
from ._options import Options as Options
from ._statistics import WebSocketStatistics as WebSocketStatistics
from .asgi._app import websocket_app as websocket_app
from .asgi._open import open_websocket as open_websocket
from .rooms import Room as Room
from .rooms import Rooms as Rooms

__version__ = "0.1.0"

__all__ = [
    "CloseCode",
    "Codec",
    "InvalidPayload",
    "LocalProtocolError",
    "Options",
    "QueryParams",
    "RemoteProtocolError",
    "Room",
    "Rooms",
    "UnexpectedMessage",
    "WebSocket",
    "WebSocketDisconnected",
    "WebSocketStatistics",
    "open_websocket",
    "websocket_app",
]

# Show the public path in reprs, tracebacks and pickles, not the private module.
for _public in (globals()[name] for name in __all__):
    _public.__module__ = __name__
