"""The applications that the real servers serve: `app` dispatches by path.

`/ours/NAME?id=ID` runs a handler in a block of wsnursery, `/app/NAME?id=ID` the handler as a
`websocket_app`, `/raw/NAME?id=ID` the same thing written against bare `receive` and `send`;
`/stats` counts what the process holds, `/release?id=ID` lets a handler go on.
"""

import asyncio
import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import anyio
import anyio.lowlevel

from tests.servers import contract_apps as contract_apps
from tests.servers._registry import (
    CONNECTIONS,
    OURS,
    RAW,
    Connection,
    Log,
    Receive,
    Send,
    ours,
    raw,
)
from tests.servers._reports import Reporter
from wsnursery import Room, WebSocket, WebSocketDisconnected, open_websocket, websocket_app

logging.getLogger("wsnursery").addHandler(Log())
logging.getLogger("wsnursery").setLevel(logging.INFO)


def describe(exc: BaseException | None) -> dict[str, Any]:
    """The outcome of a block as facts that fit into JSON."""
    return {
        "error": type(exc).__name__ if exc is not None else None,
        "group": isinstance(exc, BaseExceptionGroup),
        "errors": [type(error).__name__ for error in getattr(exc, "exceptions", ())],
        "code": getattr(exc, "code", None),
        "reason": getattr(exc, "reason", None),
        "cause": type(exc.__cause__).__name__ if exc is not None and exc.__cause__ else None,
        "text": str(exc),
    }


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    if scope["type"] == "http":
        if scope["path"] == "/release":
            CONNECTIONS[query["id"]].released.set()
        await (_flood(send) if scope["path"] == "/flood" else _stats(send))
        return
    connection = Connection(Reporter(query.get("id", "")), query)
    kind, name = scope["path"].strip("/").split("/")
    if kind == "ours":
        await _run_ours(name, scope, receive, send, connection)
    elif kind == "app":
        await _run_app(name, scope, receive, send, connection)
    else:
        await _run_raw(name, receive, send, connection)


async def _run_ours(name: str, scope: Any, receive: Any, send: Any, conn: Connection) -> None:
    handler, options = OURS[name]
    outcome: BaseException | None = None
    ws = open_websocket(scope, conn.watch(receive), send, options=options)
    try:
        async with ws:
            await handler(ws, conn)
    except WebSocketDisconnected as exc:
        outcome = exc
    except BaseException as exc:
        outcome = exc
        raise
    finally:
        closed = {"close_code": ws.close_code, "close_reason": ws.close_reason}
        conn.report("ended", **describe(outcome), **closed)


async def _run_app(name: str, scope: Any, receive: Any, send: Any, conn: Connection) -> None:
    handler, options = OURS[name]
    served = websocket_app(lambda ws: handler(ws, conn), options=options)
    outcome: BaseException | None = None
    try:
        await served(scope, conn.watch(receive), send)
    except BaseException as exc:
        outcome = exc
        raise
    finally:
        conn.report("ended", **describe(outcome))


async def _run_raw(name: str, receive: Any, send: Any, conn: Connection) -> None:
    outcome: BaseException | None = None
    try:
        await RAW[name](conn.watch(receive), send, conn)
    except BaseException as exc:
        outcome = exc
        raise
    finally:
        conn.report("ended", **describe(outcome))


async def _lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


async def _stats(send: Send) -> None:
    body = json.dumps({"tasks": _count_tasks(), "fds": _count_fds()}).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _flood(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await anyio.lowlevel.checkpoint()


def _count_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _count_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no running loop: this is trio
        import trio

    count, todo = 0, [trio.lowlevel.current_root_task()]
    while todo:
        task = todo.pop()
        if task is not None:
            count += 1
            todo.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return count


# Handlers on wsnursery. Each starts two children whose clean-up awaits, so that a test can see
# that it ran to its end before the block was left.


async def _child(conn: Connection, number: int) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)
        conn.report("cleaned", child=number)


async def _accept(ws: WebSocket, conn: Connection, subprotocol: str | None = None) -> None:
    await ws.accept(subprotocol)
    for number in range(2):
        ws.start_soon(_child, conn, number)
    conn.report("accepted", process=os.getpid())


@ours()
async def echo(ws: WebSocket, conn: Connection) -> None:
    await _accept(ws, conn)
    count = 0
    async for message in ws:
        count += 1
        await ws.send(message)
    conn.report("read", count=count, code=ws.close_code, reason=ws.close_reason)


@ours(idle_timeout=0.1, close_timeout=0.1)
async def impatient_echo(ws: WebSocket, conn: Connection) -> None:
    await echo(ws, conn)


@ours()
async def idle(ws: WebSocket, conn: Connection) -> None:
    await _accept(ws, conn)
    try:
        await anyio.sleep_forever()
    finally:
        conn.report("body cancelled")


@ours(grace_period=0.1)
async def never_reads(ws: WebSocket, conn: Connection) -> None:
    await _accept(ws, conn)
    await anyio.sleep_forever()


@ours()
async def push(ws: WebSocket, conn: Connection) -> None:
    await _accept(ws, conn)

    async def pusher() -> None:
        while True:
            await ws.send("x" * 100)
            await anyio.sleep(0.001)

    ws.start_soon(pusher)
    await pusher()


@ours()
async def send_loop(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()
    while True:
        await ws.send("x")


@ours()
async def late_reader(ws: WebSocket, conn: Connection) -> None:
    await _accept(ws, conn)
    await conn.noticed.wait()
    await anyio.sleep(0.05)
    messages = [message async for message in ws]
    conn.report("read", messages=messages)


@ours()
async def chat(ws: WebSocket, conn: Connection) -> None:
    """An echo that takes the first subprotocol on offer."""
    await _accept(ws, conn, next(iter(ws.subprotocols), None))
    async for message in ws:
        await ws.send(message)


@ours()
async def dismiss(ws: WebSocket, conn: Connection) -> None:
    """Close with the reason that the client gives."""
    await _accept(ws, conn, next(iter(ws.subprotocols), None))
    await ws.close(4002, await ws.receive_text())


@ours()
async def leave(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()


@ours()
async def fail(ws: WebSocket, conn: Connection) -> None:
    await _accept(ws, conn)
    raise LookupError(f"a bug of the handler of {conn.query['id']}.")


@ours()
async def flood(ws: WebSocket, conn: Connection) -> None:
    await _accept(ws, conn)
    while True:
        await ws.send(b"x" * 65536)


@ours()
async def slow_to_leave(ws: WebSocket, conn: Connection) -> None:
    await _accept(ws, conn)
    async for _ in ws:
        pass
    await conn.released.wait()


@ours()
async def shielded(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()
    conn.report("accepted")
    with anyio.CancelScope(shield=True):
        await anyio.sleep(1000)


@ours()
async def stuck(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()
    conn.report("accepted")
    time.sleep(1000)  # noqa: ASYNC251 - the event loop stands still


@ours()
async def bad_subprotocol(ws: WebSocket, conn: Connection) -> None:
    await ws.accept(subprotocol="never offered")


@ours()
async def text_headers(ws: WebSocket, conn: Connection) -> None:
    headers: Any = [("not", "bytes")]
    await ws.accept(headers=headers)


# The same against bare receive and send: what there is without wsnursery.


@raw
async def raw_echo(receive: Receive, send: Send, conn: Connection) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    conn.report("accepted")
    while (event := await receive())["type"] != "websocket.disconnect":
        reply = {key: event[key] for key in ("text", "bytes") if event.get(key) is not None}
        await send({"type": "websocket.send", **reply})


@raw
async def raw_impatient_echo(receive: Receive, send: Send, conn: Connection) -> None:
    with anyio.move_on_after(0.5):
        await raw_echo(receive, send, conn)


@raw
async def raw_idle(receive: Receive, send: Send, conn: Connection) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    conn.report("accepted")
    with anyio.move_on_after(float(conn.query.get("seconds", "1000"))):
        await conn.released.wait()


@raw
async def raw_leave(receive: Receive, send: Send, conn: Connection) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await conn.released.wait()
    await send({"type": "websocket.close"})


@raw
async def raw_send_loop(receive: Receive, send: Send, conn: Connection) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "text": "x"})


@raw
async def raw_flood(receive: Receive, send: Send, conn: Connection) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    conn.report("accepted")
    message = b"x" * int(conn.query.get("size", "65536"))
    with suppress(Exception):  # Hypercorn refuses what follows a close
        while True:
            await send({"type": "websocket.send", "bytes": message})
            await anyio.lowlevel.checkpoint()  # without it a client that goes freezes the process


@raw
async def raw_bad_subprotocol(receive: Receive, send: Send, conn: Connection) -> None:
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "never offered"})


@raw
async def raw_text_headers(receive: Receive, send: Send, conn: Connection) -> None:
    await receive()
    await send({"type": "websocket.accept", "headers": [("not", "bytes")]})


LOBBY = Room("lobby")


@websocket_app
async def lobby(ws: WebSocket) -> None:
    """A member of a room, in one of several workers."""
    await ws.accept()
    with LOBBY.joined(ws):
        async for _ in ws:
            pass
