"""JSON and types: the default codec, those of other libraries, and what bad input does."""

import importlib
import json
import re
from typing import Any, ClassVar

import pytest

from tests.faults._opened import opened
from wsnursery import Codec, InvalidPayload, Options, Room, Rooms, testing
from wsnursery._codec import STANDARD
from wsnursery.rooms import MemoryEngine, SharedRooms


class Point:
    """Reads JSON by itself, as a pydantic model does."""

    reads: ClassVar[list[object]] = []

    def __init__(self, x: int) -> None:
        self.x = x

    @classmethod
    def model_validate_json(cls, message: str | bytes) -> "Point":
        value = json.loads(message)
        if not isinstance(value, dict) or not isinstance(value.get("x"), int):
            raise ValueError(f"x must be a number, got {value!r}")
        return cls(value["x"])


class Adapter:
    """Reads JSON by itself, as pydantic's TypeAdapter does."""

    def validate_json(self, message: str | bytes, /) -> tuple[int, ...]:
        return tuple(json.loads(message))


class Shouting:
    """A codec that can be distinguished from the standard one."""

    def encode(self, obj: Any, /) -> bytes:
        return json.dumps(obj).upper().encode()

    def decode(self, message: str | bytes, /, *, type: Any = None) -> Any:  # noqa: A002
        return (json.loads(message), type)


def received_by(*messages: str | bytes) -> testing.Server:
    server = testing.Server()
    for message in messages:
        server.peer.send_nowait(message)
    return server


# ----------------------------------------------------------------------------------- JSON


async def test_a_codec_of_ones_own() -> None:
    server = received_by('{"a":1}', b"[1]", '"é"')
    async with opened(server, codec=Shouting()) as ws:
        await ws.accept()
        await ws.send_json({"a": "b"})
        assert await ws.receive_json() == ({"a": 1}, None)
        assert await ws.receive_json() == ([1], None)
        assert await ws.receive_as(Point.__init__) == ("é", Point.__init__)
    assert server.transcript.from_app == ['{"A": "B"}']  # text, although the codec gives bytes


async def test_rooms_have_codecs_of_their_own() -> None:
    server = testing.Server()
    engine = MemoryEngine()
    async with opened(server) as ws:
        await ws.accept()
        room = Room("r", codec=Shouting())
        rooms = Rooms(codec=Shouting())
        shared = SharedRooms(engine, codec=Shouting())
        with room.joined(ws), rooms.joined("r", ws):
            room.publish_json("room")
            rooms.publish_json("r", "rooms")
        await ws.start(shared.run)
        with shared.joined("r", ws):
            await shared.wait_live()
            shared.publish_json("r", "shared")
            await server.peer.receive()
            await server.peer.receive()
            assert await server.peer.receive() == '"SHARED"'
        ws.cancel_scope.cancel()
    assert server.transcript.from_app == ['"ROOM"', '"ROOMS"', '"SHARED"']


NOT_CODECS: list[Any] = [None, object(), json, Shouting]


@pytest.mark.parametrize("codec", NOT_CODECS)
def test_what_is_not_a_codec(codec: Any) -> None:
    advice = "write Shouting(), not Shouting" if codec is Shouting else "use msgspec.json"
    options: dict[str, Any] = {"codec": codec}
    with pytest.raises(TypeError, match=re.escape(advice)):
        Options(**options)


def test_the_standard_codec_is_one() -> None:
    assert isinstance(STANDARD, Codec)
    assert Options().codec is STANDARD


# ---------------------------------------------------------------------------------- types


async def test_messages_of_a_type() -> None:
    async with opened(received_by('{"x":1}', b'{"x":2}', "[1,2]")) as ws:
        await ws.accept()
        assert (await ws.receive_as(Point)).x == 1
        assert (await ws.receive_as(Point)).x == 2
        assert await ws.receive_as(Adapter()) == (1, 2)


# contract: R8
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("{", "is not a valid Point: 'Expecting property name"),
        ('{"x":"one"}', "is not a valid Point: \"x must be a number, got {'x': 'one'}\""),
        (b"\xff", "is not a valid Point"),
        ("[" * 100_000, "is not a valid Point"),
        (json.dumps("a" * 1000), r"aaa\"\.\.\.$"),
    ],
    ids=["no JSON", "another type", "no UTF-8", "too deep", "long"],
)
async def test_bad_input_says_why_and_the_connection_stays_usable(
    message: str | bytes, reason: str
) -> None:
    async with opened(received_by(message, '{"x":1}')) as ws:
        await ws.accept()
        with pytest.raises(InvalidPayload, match=reason) as caught:
            await ws.receive_as(Point)
        assert caught.value.message == message
        assert isinstance(caught.value.__cause__, ValueError | RecursionError)
        assert len(str(caught.value)) < 300
        assert (await ws.receive_as(Point)).x == 1


async def test_a_type_that_cannot_be_read_loses_no_message() -> None:
    async with opened(received_by('{"x":1}')) as ws:
        await ws.accept()
        with pytest.raises(TypeError, match="cannot read JSON as dict: use a pydantic model, or"):
            await ws.receive_as(dict)
        with pytest.raises(TypeError, match="cannot read JSON as"):
            ws.iter_as(int | str)
        assert await ws.receive() == '{"x":1}'


async def test_iteration_over_a_type_ends_with_the_connection() -> None:
    server = received_by('{"x":1}', '{"x":2}')
    async with opened(server) as ws:
        await ws.accept()
        server.peer.close()
        assert [point.x async for point in ws.iter_as(Point)] == [1, 2]


async def test_iteration_goes_on_after_bad_input_that_is_answered() -> None:
    server = received_by('{"x":1}', "bad", "worse", '{"x":2}')

    async with opened(server) as ws:

        async def complain(exc: InvalidPayload) -> None:
            invalid.append(exc.message)

        invalid: list[str | bytes] = []
        await ws.accept()
        server.peer.close()
        points = [point.x async for point in ws.iter_as(Point, on_invalid=complain)]
    assert (points, invalid) == ([1, 2], ["bad", "worse"])


async def test_iteration_can_be_taken_up_again_after_bad_input() -> None:
    server = received_by('{"x":1}', "bad", '{"x":2}')
    async with opened(server) as ws:
        await ws.accept()
        server.peer.close()
        points = ws.iter_as(Point)
        seen: list[int] = []
        seen.append((await anext(points)).x)
        with pytest.raises(InvalidPayload):
            await anext(points)
        seen += [point.x async for point in points]
    assert seen == [1, 2]


# ------------------------------------------------------------------------------- the examples

SAID = {
    "msgspec_types": ('{"type":"say","text":"hi"}', '{"type":"say","text":"HI"}'),
    "pydantic_types": ('{"kind":"say","text":"hi"}', '{"kind":"say","text":"HI"}'),
    "orjson_codec": ('{"a":1}', '{"you said":{"a":1}}'),
}


@pytest.mark.parametrize("name", SAID)
async def test_an_example(name: str) -> None:
    pytest.importorskip(name.partition("_")[0])
    app = importlib.import_module(f"examples.codecs.{name}").app
    sent, answer = SAID[name]
    async with testing.connect(app) as client:
        await client.send(sent)
        assert await client.receive() == answer


@pytest.mark.parametrize("name", ["msgspec_types", "pydantic_types"])
async def test_an_example_with_types_answers_bad_input(name: str) -> None:
    pytest.importorskip(name.partition("_")[0])
    app = importlib.import_module(f"examples.codecs.{name}").app
    async with testing.connect(app) as client:
        for bad in ("{", '{"kind":"say","type":"say","text":1}', "[]"):
            await client.send(bad)
            assert "error" in json.loads(await client.receive())
        await client.send('{"kind":"leave","type":"leave"}')
        await client.app_finished()
        assert client.transcript.app_close == (1000, "")


async def test_pydantic_models_need_no_codec() -> None:
    pytest.importorskip("pydantic")
    types = importlib.import_module("examples.codecs.pydantic_types")
    async with opened(received_by('{"text":"hi"}', '{"text":1}', '{"kind":"leave"}')) as ws:
        await ws.accept()
        assert (await ws.receive_as(types.Say)).text == "hi"
        with pytest.raises(InvalidPayload, match=r"not a valid Say: .*Input should be a valid str"):
            await ws.receive_as(types.Say)
        assert isinstance(await ws.receive_as(types.COMMANDS), types.Leave)


async def test_orjson_leaves_types_to_models() -> None:
    pytest.importorskip("orjson")
    codec = importlib.import_module("examples.codecs.orjson_codec").Orjson()
    async with opened(received_by('{"x":1}', "1"), codec=codec) as ws:
        await ws.accept()
        assert (await ws.receive_as(Point)).x == 1
        with pytest.raises(TypeError, match="orjson knows no types"):
            await ws.receive_as(int)
