"""WebSockets over ASGI: `open_websocket` for any triple, and `websocket_app`."""

from ._app import Handler as Handler
from ._app import WebSocketApp as WebSocketApp
from ._app import websocket_app as websocket_app
from ._lifespan import Lifespan as Lifespan
from ._open import open_websocket as open_websocket

__all__ = ["Handler", "Lifespan", "WebSocketApp", "open_websocket", "websocket_app"]
