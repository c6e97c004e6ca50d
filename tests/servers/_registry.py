"""What the applications register with, and what a handler gets in addition to its WebSocket."""

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import anyio

from tests.servers._reports import Reporter
from wsnursery import Options, WebSocket

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


@dataclass(eq=False)
class Connection:
    """What a handler gets in addition to its WebSocket."""

    report: Reporter
    query: dict[str, str]
    noticed: anyio.Event = field(default_factory=anyio.Event)
    """Set when the server has delivered the disconnect event."""
    released: anyio.Event = field(default_factory=anyio.Event)
    """Set by the test: GET /release?id=ID."""

    def __post_init__(self) -> None:
        CURRENT.set(self)
        CONNECTIONS[self.query.get("id", "")] = self

    def watch(self, receive: Receive) -> Receive:
        """Tell when the server delivers the disconnect."""

        async def watched() -> Event:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                self.report("noticed", code=event.get("code"), reason=event.get("reason"))
                self.noticed.set()
            return event

        return watched


CURRENT: ContextVar[Connection] = ContextVar("CURRENT")
"""The connection that the running task is for."""


CONNECTIONS: WeakValueDictionary[str, Connection] = WeakValueDictionary()
"""Those that are open, by the test's name for them."""


class Log(logging.Handler):
    """Reports what wsnursery logs to the test of the connection that it is about."""

    def emit(self, record: logging.LogRecord) -> None:
        connection = CURRENT.get(None)
        if connection is not None:
            connection.report("logged", level=record.levelname, message=record.getMessage())


Handler = Callable[[WebSocket, Connection], Awaitable[None]]
RawHandler = Callable[[Receive, Send, Connection], Awaitable[None]]

OURS: dict[str, tuple[Handler, Options]] = {}
RAW: dict[str, RawHandler] = {}


def ours(**options: Any) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        OURS[handler.__name__] = (handler, Options(**options))
        return handler

    return register


def raw(handler: RawHandler) -> RawHandler:
    RAW[handler.__name__.removeprefix("raw_")] = handler
    return handler
