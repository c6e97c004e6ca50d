"""The ASGI application of the demonstration: the page, its pictures and its WebSockets."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio

from wsnursery import Options, Room, WebSocket, WebSocketDisconnected, open_websocket, websocket_app
from wsnursery.timeline import Recorder

from ._asgi import Receive, Scope, Send
from ._assets import PICTURE_POLICY, TYPES, answer, content_type, read_assets
from ._handlers import HANDLERS, kind_of, placed
from ._hosts import is_for, origins
from ._stories import Stories
from ._subjects import Subjects
from ._tree import Tree
from ._watch import SEND_BUFFER, Watch

SEND_TIMEOUT = 6.0
"""Seconds. The text of the page mentions the number, too."""

OPTIONS = Options(
    # The limits are small, so that effects show within seconds instead of minutes.
    receive_buffer=16,
    send_buffer=16,
    send_timeout=SEND_TIMEOUT,
    grace_period=2.0,
    close_timeout=2.0,
    max_message_size=4096,
)
"""The limits of the connections that the buttons break."""

TEXT = "text/plain; charset=utf-8"

MISDIRECTED = b"""\
This demonstration answers to its own address only, so that no other web page can control it.
To see it from another machine, start it with --bind and the address of this one.
"""


class Demonstration:
    """One demonstration, with its own chat.

    Args:
        hosts: The values that a ``Host`` header may have, see `_hosts`.
        facts: The facts about the server that the page shows.
        stop: Ends the server.
    """

    def __init__(
        self, hosts: tuple[str, ...], facts: dict[str, Any], stop: Callable[[], None]
    ) -> None:
        self.stop: Callable[[], None] = stop
        """Ends the server."""
        self._hosts = hosts
        self._assets = read_assets()
        self._chat = Room("chat", history=50, stamp=placed)
        tree, recorder = Tree(), Recorder(messages=False)
        own_pages = origins(hosts)
        self.subjects: Subjects = Subjects(
            replace(OPTIONS, allowed_origins=own_pages, hooks=[tree, recorder])
        )
        """The connections that can be broken."""
        self.stories: Stories = Stories(recorder)
        """The actions on these connections, with what followed."""
        self._watch = Watch(tree, self.subjects, self.stories, facts, stop)
        self._pages = websocket_app(
            self._watch.serve,
            options=Options(
                send_buffer=SEND_BUFFER, max_message_size=4096, allowed_origins=own_pages
            ),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(receive, send)
        elif not is_for(scope, self._hosts):
            await _misdirected(scope, receive, send)
        elif kind == "http":
            await self._answer(scope, send)
        elif scope["path"] == "/watch":
            await self._pages(scope, receive, send)
        else:
            await self.subjects.serve(self._handle, scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Run the lifespan, in which changes are sent to the pages."""
        await receive()
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch.publish)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            group.cancel_scope.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _handle(self, ws: WebSocket) -> None:
        handler = HANDLERS.get(kind_of(ws.scope))
        if handler is None:
            await ws.reject(404)
        else:
            await handler(ws, self._chat)

    async def _answer(self, scope: Scope, send: Send) -> None:
        path = scope["path"]
        if path in self._assets:
            await answer(send, 200, self._assets[path], content_type(path))
        elif (drawing := self._drawing(scope)) is not None:
            policy = {"content-security-policy": PICTURE_POLICY}
            await answer(send, 200, drawing, TYPES["svg"], headers=policy)
        else:
            await answer(send, 404, b"There is nothing here.\n", TEXT)

    def _drawing(self, scope: Scope) -> bytes | None:
        """Draw the picture for ``/story/NUMBER.svg?WIDTH``, if there is one."""
        wanted = re.fullmatch(r"/story/([0-9]{1,9})\.svg", scope["path"])
        story = None if wanted is None else self.stories.get(int(wanted[1]))
        width = re.match(rb"[0-9]{1,4}", scope["query_string"])
        return None if story is None else story.drawn(int(width[0]) if width else 0)


async def _misdirected(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request for a name that is not this server's (RFC 9110 §15.5.20)."""
    if scope["type"] == "http":
        await answer(send, 421, MISDIRECTED, TEXT)
    else:
        with suppress(WebSocketDisconnected):
            async with open_websocket(scope, receive, send) as ws:
                await ws.reject(421, [(b"content-type", TEXT.encode())], MISDIRECTED)
