"""The probe application: `app` runs the script that the path names.

The paths are ``/raw/NAME/VARIANT?CONNECTION`` and ``/ours/...``. ``GET /stats`` counts tasks and
descriptors.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from wsnursery._types import Receive, Scope, Send

from . import _ours, _raw
from ._bench import Bench, ControlChannel
from ._client import Facts

SCRIPTS = {"raw": _raw.RAW_SCRIPTS, "ours": _ours.OUR_SCRIPTS}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application that the server serves for the doctor."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
    elif scope["type"] == "http":
        await _answer(send, stats())
    else:
        _, kind, name, variant = scope["path"].split("/")
        with ControlChannel.open(scope["query_string"].decode()) as channel:
            await SCRIPTS[kind][name](Bench(scope, receive, send, channel, variant))


async def _answer(send: Send, facts: Facts) -> None:
    body = json.dumps(facts).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def stats() -> Facts:
    """Count the tasks of this process, and its descriptors where that is possible."""
    facts: Facts = {"pid": os.getpid(), "tasks": _count_tasks()}
    descriptors = Path("/proc/self/fd")
    if descriptors.exists():
        facts["descriptors"] = len(list(descriptors.iterdir()))
    return facts


def _count_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # there is no asyncio loop, so this is trio
        return _count_trio_tasks()


def _count_trio_tasks() -> int:
    import trio

    root: Any = trio.lowlevel.current_root_task()
    count, todo = 0, [root]
    while todo:
        task = todo.pop()
        count += 1
        todo.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return count
