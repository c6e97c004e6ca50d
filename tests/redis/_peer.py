"""A Redis in memory whose answers the test controls, for one connection after the other."""

from collections import deque
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import hiredis

from wsnursery.redis import RedisEngine, _scripts
from wsnursery.redis._address import Address
from wsnursery.rooms import SharedRooms

NAMES = {
    _scripts.PUBLISH: "publish",
    _scripts.SYNCHRONIZE: "synchronize",
    _scripts.ANNOUNCE: "announce",
    _scripts.RETRACT: "retract",
    _scripts.LOOK: "look",
    _scripts.BEAT: "beat",
}


class Error(str):
    """An error reply."""

    __slots__ = ()


class Run(list[str]):
    """The run of a script: its name, its keys and its arguments."""

    def __init__(self, name: str, keys: int, *values: str) -> None:
        super().__init__((name, *values))
        self.keys, self.arguments = list(values[:keys]), list(values[keys:])


class Push(list[object]):
    """A push."""


def encode(value) -> bytes:
    """A reply in RESP3."""
    match value:
        case Error():
            return b"-%b\r\n" % value.encode()
        case Push():
            return b">%d\r\n" % len(value) + b"".join(map(encode, value))
        case int():
            return b":%d\r\n" % value
        case str():
            return encode(value.encode())
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(encode, value))
        case dict():
            pairs = [encode(key) + encode(item) for key, item in value.items()]
            return b"%%%d\r\n" % len(value) + b"".join(pairs)
        case _:
            return b"_\r\n"


class MemoryStream(anyio.abc.ByteStream):
    """The worker's end of a connection in memory."""

    def __init__(self, peer: "Peer") -> None:
        self._peer = peer
        self._incoming = bytearray()
        self._news = anyio.Event()
        self.eof = self.is_closed = self.is_broken = False
        self.seconds_to_read = 0.0

    @property
    def is_over(self) -> bool:
        """Whether Redis has ended the connection."""
        return self.eof or self.is_broken

    def put(self, data: bytes) -> None:
        self._incoming += data
        self._news.set()

    def end(self) -> None:
        self.eof = True
        self._news.set()

    def break_(self) -> None:
        self.is_broken = True
        self._news.set()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.sleep(self.seconds_to_read)
        while not self._incoming:
            if self.is_broken:
                raise anyio.BrokenResourceError from ConnectionResetError("reset")
            if self.eof:
                raise anyio.EndOfStream
            self._news = anyio.Event()
            await self._news.wait()
        data = bytes(self._incoming[:max_bytes])
        del self._incoming[:max_bytes]
        return data

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if self.is_broken:
            raise anyio.BrokenResourceError from BrokenPipeError("pipe")
        self._peer.receive(item)

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.is_closed = True
        await anyio.lowlevel.checkpoint()


class Peer:
    """The behaviour of Redis. `answers` overrides it by name, with a value or a function."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.answers: dict[str, object] = {}
        self.failures: deque[Exception] = deque()
        """The exceptions of the next attempts to connect."""
        self.last_words = ""
        """The message to a client that connects, before the connection is closed."""
        self.streams: list[MemoryStream] = []
        self.answers_nothing = False
        self.number = 0

    @property
    def stream(self) -> MemoryStream:
        return self.streams[-1]

    async def connect(self, *_: object) -> MemoryStream:
        await anyio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.popleft()
        self._parser = hiredis.Reader()
        self.streams.append(MemoryStream(self))
        if self.last_words:
            self.stream.put(encode(Error(self.last_words)))
            self.stream.break_()
            self.stream.seconds_to_read = 0.01  # the reader comes after the writer
        return self.stream

    def named(self, name: str) -> list[Any]:
        """The commands of a name, or the runs of a script."""
        return [command for command in self.commands if command[0] == name]

    def push(self, *parts: object) -> None:
        self.stream.put(encode(Push(parts)))

    def message(self, room: str, text: str, prefix: str = "wsnursery:") -> None:
        self.push("message", f"{prefix}{{{room}}}", text)

    def receive(self, data: bytes) -> None:
        self._parser.feed(data)
        while (parts := self._parser.gets()) is not False:
            command = [part.decode() for part in parts]
            if command[0] == "EVALSHA":
                command = Run(command[1], int(command[2]), *command[3:])
            self.commands.append(command)
            if not self.answers_nothing:
                self._answer(command)

    def _answer(self, command: list[str]) -> None:
        name = command[0]
        answer = self.answers.get(name, getattr(self, f"_{name.lower()}", None))
        reply = answer(command) if callable(answer) else answer
        if reply is not ...:
            self.stream.put(encode(reply))

    def _hello(self, _: list[str]) -> object:
        return {"server": "redis", "version": "7.0.15", "proto": 3, "role": "master"}

    def _script(self, command: list[str]) -> object:
        return NAMES[command[2]]

    def _subscribe(self, command: list[str]) -> object:
        for channel in command[1:]:
            self.push("subscribe", channel, 1)
        return ...

    def _unsubscribe(self, command: list[str]) -> object:
        return ...

    def _publish(self, command: list[str]) -> object:
        if command[0] == "PUBLISH":  # a probe
            self.push("message", command[1], command[2])
            return 1
        assert isinstance(command, Run)
        first = self.number + 1
        self.number += len(command.arguments) - 8
        return [f"e {first + int(index)}" for index in command.arguments[7].split()]

    def _synchronize(self, command: list[str]) -> object:
        return ["e", self.number, "", [], []]

    def _look(self, _: list[str]) -> object:
        return []

    def _beat(self, _: list[str]) -> object:
        return 0


@asynccontextmanager
async def connected(
    monkeypatch,
    *,
    live=True,
    history=10,
    url: Any = "redis://localhost",
    last_words="",
    **options: Any,
):
    """Shared rooms over a Redis in memory."""
    peer = Peer()
    peer.last_words = last_words
    monkeypatch.setattr(Address, "connect", peer.connect)
    rooms = SharedRooms(RedisEngine(url, **options), history=history, linger=0)
    async with anyio.create_task_group() as group:
        await group.start(rooms.run)
        if live:
            await rooms.wait_live()
        yield rooms, peer
        group.cancel_scope.cancel()
    assert all(stream.is_closed for stream in peer.streams)


class OneRoom(Peer):
    """Redis as far as one room needs it: it numbers, keeps and pushes, and recognises a retry.

    Args:
        fault: What happens to the connection at a command, if anything.
        at: The number of that command, counted from 1.
        answered: Whether the command is still carried out. Its answer is not read.
    """

    def __init__(
        self, fault: Callable[[MemoryStream], None] | None = None, at: int = 0, *, answered=False
    ) -> None:
        super().__init__()
        self._fault = fault
        self._at = at
        self._answered = answered
        self._places: list[int] = []
        """The numbers of the messages, by their places among all of their publisher."""
        self._kept: list[str] = []
        self._people: dict[str, str] = {}
        self._subscribed = False
        self.count = 0
        """The commands so far."""

    async def connect(self, *_: object) -> MemoryStream:
        self._subscribed = False
        return await super().connect()

    def receive(self, data: bytes) -> None:
        if not self.stream.is_over:
            super().receive(data)

    def _answer(self, command: list[str]) -> None:
        if self.stream.is_over:
            return
        self.count += 1
        if self._fault is None or self.count != self._at:
            super()._answer(command)
            return
        if self._answered:
            answer = getattr(self, f"_{command[0].lower()}", None)
            if answer is not None:
                answer(command)
        self._fault(self.stream)

    def _push_to_room(self, text: str) -> None:
        if self._subscribed:
            self.message("r", text)

    def _subscribe(self, command: list[str]) -> object:
        self._subscribed = self._subscribed or "wsnursery:{r}" in command
        return super()._subscribe(command)

    def _unsubscribe(self, command: list[str]) -> object:
        self._subscribed = False
        return super()._unsubscribe(command)

    def _publish(self, command: list[str]) -> object:
        if not isinstance(command, Run):
            return super()._publish(command)
        place, messages = int(command.arguments[5]), command.arguments[8:]
        done = len(self._places) - place + 1
        assert done >= 0, "a message before it is missing"
        new = messages[done:]
        if new:
            first = len(self._kept) + 1
            self._kept += new
            self._places += range(first, len(self._kept) + 1)
            self._push_to_room(f"me {first} {' '.join(str(len(m)) for m in new)}:{''.join(new)}")
        confirmed = map(int, command.arguments[7].split())
        return [f"e {self._places[place + index - 1]}" for index in confirmed]

    def _synchronize(self, command: list[str]) -> object:
        assert isinstance(command, Run)
        epoch, number = command.arguments[:2]
        missing = self._kept[int(number) if epoch else 0 :]
        people = [part for pair in self._people.items() for part in pair]
        return ["e", str(len(self._kept)), "", missing, people]

    def _announce(self, command: list[str]) -> object:
        assert isinstance(command, Run)
        pairs = command.arguments[5:]
        self._people.update(zip(pairs[::2], pairs[1::2], strict=True))
        self._push_to_room(command.arguments[4])
        return None

    def _retract(self, command: list[str]) -> object:
        assert isinstance(command, Run)
        for one in command.arguments[3:]:
            self._people.pop(one, None)
        self._push_to_room(command.arguments[2])
        return None
