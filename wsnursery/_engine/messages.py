"""The calls of a `WebSocket` that depend on the content of messages: text, bytes, JSON, types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, overload

from wsnursery._codec import ReadsJSON, decoded, encoded, kind_of, reader
from wsnursery._errors import InvalidPayload, UnexpectedMessage
from wsnursery._types import Message

if TYPE_CHECKING:
    from wsnursery._options import Options

T = TypeVar("T")

OnInvalid = Callable[[InvalidPayload], Awaitable[object]]
"""What `WebSocket.iter_as` calls for a message that is not of the required type."""


class Messages:
    """The methods of `WebSocket` that are built on `send`, `receive` and iteration."""

    __slots__ = ()

    if TYPE_CHECKING:
        _options: Options

        def send(self, message: Message) -> Coroutine[Any, Any, None]: ...

        def receive(self) -> Coroutine[Any, Any, Message]: ...

        def __anext__(self) -> Awaitable[Message]: ...

    async def send_json(self, obj: Any) -> None:
        """Send an object as JSON text. As `send` otherwise.

        Args:
            obj: An object that ``Options.codec`` can write. The default codec is `json.dumps`, and
                refuses NaN and infinity, because JSON does not have them.

        Raises:
            TypeError, ValueError: It cannot be written as JSON. Nothing was queued.
        """
        await self.send(encoded(self._options.codec, obj))

    async def receive_text(self) -> str:
        """Wait for the next message, which must be text. As `receive` otherwise.

        Raises:
            UnexpectedMessage: It was binary. The exception has the message; the connection stays
                usable.
        """
        message = await self.receive()
        if not isinstance(message, str):
            raise UnexpectedMessage("expected text, but the peer sent a binary message", message)
        return message

    async def receive_bytes(self) -> bytes:
        """Wait for the next message, which must be binary. As `receive` otherwise.

        Raises:
            UnexpectedMessage: It was text. The exception has the message; the connection stays
                usable.
        """
        message = await self.receive()
        if not isinstance(message, bytes):
            raise UnexpectedMessage("expected a binary message, but the peer sent text", message)
        return message

    async def receive_json(self) -> Any:
        """Wait for the next message and read it as JSON. As `receive` otherwise.

        Raises:
            InvalidPayload: It was not JSON. The exception has the message; the connection stays
                usable.
        """
        return decoded(self._options.codec.decode, await self.receive())

    @overload
    async def receive_as(self, wanted: type[T] | ReadsJSON[T], /) -> T: ...

    @overload
    async def receive_as(self, wanted: Any, /) -> Any: ...

    async def receive_as(self, wanted: Any, /) -> Any:
        """Wait for the next message and read it as JSON of a type. As `receive` otherwise.

        Args:
            wanted: A pydantic model or ``TypeAdapter``, or any type that ``Options.codec`` accepts.
                With ``msgspec.json`` that is a struct, a dataclass, a ``TypedDict`` or a union.

        Returns:
            An object of that type.

        Raises:
            InvalidPayload: It was something else. The exception says what is wrong and has the
                message; the connection stays usable.
            TypeError: Neither the type nor the codec can read JSON as it. Nothing was received.
        """
        read = reader(self._options.codec, wanted)
        return decoded(read, await self.receive(), kind_of(wanted))

    @overload
    def iter_as(
        self, wanted: type[T] | ReadsJSON[T], /, *, on_invalid: OnInvalid | None = None
    ) -> AsyncIterator[T]: ...

    @overload
    def iter_as(
        self, wanted: Any, /, *, on_invalid: OnInvalid | None = None
    ) -> AsyncIterator[Any]: ...

    def iter_as(self, wanted: Any, /, *, on_invalid: OnInvalid | None = None) -> AsyncIterator[Any]:
        """Iterate over messages of a type; the loop ends as ``async for message in ws`` does.

        ::

            async def complain(exc: InvalidPayload) -> None:
                await ws.send_json({"error": str(exc)})

            async for command in ws.iter_as(Command, on_invalid=complain):
                ...

        Args:
            wanted: As for `receive_as`.
            on_invalid: An async function that is called with the `InvalidPayload` of each message
                that does not fit. Then the loop continues. Without it the loop raises, and another
                ``async for`` over the same object continues.

        Raises:
            TypeError: As for `receive_as`.

        *Checkpoint*: no, but each turn of the loop is one.
        """
        read = reader(self._options.codec, wanted)
        return TypedMessages(self, read, kind_of(wanted), on_invalid)


class TypedMessages(AsyncIterator[T]):
    """The messages of a connection as objects of a type. `WebSocket.iter_as` makes it."""

    __slots__ = ("_kind", "_messages", "_on_invalid", "_read")

    def __init__(
        self,
        messages: Messages,
        read: Callable[[Message], T],
        kind: str,
        on_invalid: OnInvalid | None,
    ) -> None:
        self._messages = messages
        self._read = read
        self._kind = kind
        self._on_invalid = on_invalid

    async def __anext__(self) -> T:
        while True:
            message = await anext(self._messages)
            try:
                return decoded(self._read, message, self._kind)  # type: ignore[no-any-return]
            except InvalidPayload as exc:
                if self._on_invalid is None:
                    raise
                invalid = exc
            await self._on_invalid(invalid)
            del invalid  # its traceback has this frame, which would be a reference cycle
