"""The WebSocket of the page: live states of the connections, and the buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from wsnursery import InvalidPayload, Room, WebSocket
from wsnursery.rooms import Member

from ._actions import ACTIONS, act
from ._stories import Stories
from ._subjects import Subject, Subjects
from ._tree import Tree

UNKNOWN = "The page asked for something that this server does not know."

INTERVAL = 0.15
"""Seconds between two updates. An update sends the changes since the last one."""


SEND_BUFFER = 64
"""Messages that may be queued for a page: this many connections can change at once."""


class Watch:
    """Sends all open pages the state of the connections.

    A page that does not keep up gets the newest state of each connection: every connection is a key
    of the room, in which a new message replaces a queued one with the same key.

    Args:
        tree: The states of the connections.
        subjects: The connections.
        stories: The actions and what followed.
        facts: Constant facts: the server, the backend.
        stop: Ends the server.
    """

    def __init__(
        self,
        tree: Tree,
        subjects: Subjects,
        stories: Stories,
        facts: dict[str, Any],
        stop: Callable[[], None],
    ) -> None:
        self._tree = tree
        self._subjects = subjects
        self._stories = stories
        self._facts = facts
        self._stop = stop
        self._room = Room("watch")
        self._published: dict[str, dict[str, Any]] = {}

    async def publish(self) -> None:
        """Send changes to the pages, until cancelled."""
        while True:
            await anyio.sleep(INTERVAL)
            self._publish_connections()
            for story in self._stories.changed(anyio.current_time()):
                self._room.publish_json({"story": story.shown()}, key=f"story {story.number}")

    def _publish_connections(self) -> None:
        found = self._tree.snapshots(self._subjects)
        for connection in self._published.keys() - found.keys():
            self._room.publish_json({"gone": connection}, key=connection)
        for connection, snapshot in found.items():
            if self._published.get(connection) != snapshot:
                self._room.publish_json({"connection": snapshot}, key=connection)
        self._published = found

    async def serve(self, ws: WebSocket) -> None:
        """Serve one page."""
        await ws.accept()
        with self._room.joined(ws, overflow="latest") as member:
            await ws.send_json(self._everything())
            ws.start_soon(self._catch_up, ws, member)
            while True:
                refusal = await self._next_wish(ws)
                if refusal:
                    await ws.send_json({"refused": refusal})

    async def _catch_up(self, ws: WebSocket, member: Member) -> None:
        while True:
            await member.missed()
            await ws.send_json(self._everything())

    def _everything(self) -> dict[str, Any]:
        newest = self._stories.newest
        return {
            "connections": list(self._tree.snapshots(self._subjects).values()),
            "server": self._facts,
            **({} if newest is None else {"story": newest.shown()}),
        }

    async def _next_wish(self, ws: WebSocket) -> str:
        try:
            return self._grant(await ws.receive_json())
        except InvalidPayload:
            return UNKNOWN

    def _grant(self, wish: object) -> str:
        """Carry out a request of a page. Return the reason if it is refused."""
        match wish:
            case {"do": "stop"}:
                self._stop()
                return ""
            case {"do": str(action), "to": str(connection)} if action in ACTIONS:
                return self._break(action, self._subjects.get(connection))
            case _:
                return UNKNOWN

    def _break(self, action: str, subject: Subject | None) -> str:
        if subject is None:
            return "This connection has ended: choose another one."
        begun = anyio.current_time()
        refusal = act(action, subject)
        if not refusal:
            self._stories.begin(action, subject.ws, begun)
        return refusal
