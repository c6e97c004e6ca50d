"""`open_websocket`, for any ``(scope, receive, send)``."""

from __future__ import annotations

import sys

from wsnursery._backend.running import running_on_trio
from wsnursery._engine.meaning import Interpreter, meaningless
from wsnursery._engine.open_connections import Gone
from wsnursery._engine.websocket import WebSocket, make_websocket
from wsnursery._options import Options, check_options
from wsnursery._types import Receive, Scope, Send

from ._extension import extension_of
from ._in_place import sides_of
from ._transport import ASGITransport


def open_websocket(
    scope: Scope, receive: Receive, send: Send, *, options: Options = Options()
) -> WebSocket:
    """Run a WebSocket of an ASGI server in a task group of its own.

    Use it as an async context manager, once::

        async def app(scope, receive, send):
            async with open_websocket(scope, receive, send) as ws:
                await ws.accept()
                async for message in ws:
                    await ws.send(message)

    Entering does not accept, and is not a checkpoint. Leaving without `WebSocket.accept` denies the
    handshake (403). Leaving waits for the children, flushes, closes with 1000 (1011 after an error,
    1001 when cancelled from outside) and takes at most ``options.close_timeout`` seconds for that.
    The block must be entered and left in the same task, so it must not be held across the ``yield``
    of an async generator or of a fixture.

    Args:
        scope: The ASGI scope, of type ``"websocket"``.
        receive: The ASGI ``receive``. No other code may call it while the block is open.
        send: The ASGI ``send``. The same.
        options: Limits and mode.

    Raises:
        ValueError: The scope is not a websocket's. (At the call.)
        TypeError: ``receive`` or ``send`` is a method of Starlette's WebSocket, or the options are
            something else. (At the call.)
        LocalProtocolError: Another task leaves the block than the one that entered it, or the scope
            has had a block before.
        WebSocketDisconnected: The end of the connection interrupted the body, or messages were lost
            and no call has reported it. ``__cause__`` is the server's exception, if there was one.
            Entering raises it if ``options.allowed_origins`` denied the handshake.
        ExceptionGroup: Children failed.

    *Cancellation*: from outside, it cancels the body and the children, drops queued messages and
    sends a close with 1001 (shielded, for at most ``close_timeout``). Then it continues.
    """
    _refuse_starlettes(receive, send)
    return open_interpreted(scope, receive, send, options, meaningless)


def open_interpreted(
    scope: Scope, receive: Receive, send: Send, options: Options, interpret: Interpreter
) -> WebSocket:
    """`open_websocket` inside a framework, to which some exceptions have a meaning."""
    check_options(options)
    kind = scope.get("type")
    if kind != "websocket":
        raise ValueError(
            f"the scope of open_websocket() must be of type 'websocket', got {kind!r}: "
            "check scope['type'] first, or use websocket_app"
        )
    extension = extension_of(scope)
    # The server is draining and has sent its close already, so the block only has to end.
    if extension is not None and extension.closed_by_server:
        return make_websocket(Gone(scope), options)
    transport = ASGITransport(scope, receive, send, options)
    sides = sides_of(receive, send, transport.parse, options, on_trio=running_on_trio())
    ws = make_websocket(transport, options, sides, interpret)
    if extension is not None:
        extension.websocket = ws
    return ws


def _refuse_starlettes(*raw: Receive | Send) -> None:
    """Refuse the methods of Starlette's WebSocket, which hide what the server says."""
    module = sys.modules.get("starlette.websockets")
    for each in raw:
        if module is not None and isinstance(getattr(each, "__self__", None), module.WebSocket):
            raise TypeError(
                "receive and send must be those of the server, got methods of Starlette's "
                "WebSocket: write wsnursery.starlette.open_websocket(websocket)"
            )
