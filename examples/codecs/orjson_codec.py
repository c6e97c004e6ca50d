"""JSON with orjson.

``pip install orjson``, then ``hypercorn -k trio examples.codecs.orjson_codec:app``.
"""

from typing import Any

import orjson

from wsnursery import Options, WebSocket, websocket_app


class Orjson:
    def encode(self, obj: Any, /) -> bytes:
        return orjson.dumps(obj)

    def decode(self, message: str | bytes, /, *, type: Any = Any) -> Any:  # noqa: A002
        if type is not Any:
            raise TypeError("orjson knows no types: use receive_json(), or a pydantic model")
        return orjson.loads(message)


@websocket_app(options=Options(codec=Orjson()))
async def app(ws: WebSocket) -> None:
    await ws.accept()
    while True:
        await ws.send_json({"you said": await ws.receive_json()})
