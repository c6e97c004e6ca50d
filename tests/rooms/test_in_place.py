"""A room sends to the members whose servers take the message at once, without a task for each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from tests.contract._bench import ordered
from wsnursery import Options, Room, WebSocket, WebSocketDisconnected, hooks, testing
from wsnursery._backend.running import running_on_trio
from wsnursery._engine.connection import Sides
from wsnursery._engine.websocket import connection_of
from wsnursery._engine.wire import BUDGET
from wsnursery.asgi._sending import AsyncioOutgoing, TrioOutgoing
from wsnursery.asgi._transport import ASGITransport
from wsnursery.transports import make_websocket

on_trio_only = pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
"""On asyncio the call that publishes makes the first step of each raw send."""

ROOM_TASK = "wsnursery room sender"


class Client:
    """A connection to a server whose own `send` is recognised. It takes what it is sent.

    Attributes:
        sent: What the server has taken, and the task that has sent it.
        closes: The codes of the closes that the server was given.
        on_send: Is awaited within every raw send of a message.
        error: What the block has raised.
        ws: The WebSocket, once it is in the room.
    """

    ws: WebSocket

    def __init__(self, log: list[tuple["Client", str]] | None = None) -> None:
        self.server = testing.Server(send_queue=1000)
        self.sent: list[tuple[str, str | None]] = []
        self.closes: list[int] = []
        self.on_send: Callable[[], Awaitable[object]] = nothing
        self.error: BaseException | None = None
        self._log = [] if log is None else log

    @property
    def texts(self) -> list[str]:
        return [text for text, _ in self.sent]

    @property
    def tasks(self) -> set[str | None]:
        return {task for _, task in self.sent}

    async def send(self, event: Any) -> None:
        if event["type"] != "websocket.send":
            self.closes.extend(code for key, code in event.items() if key == "code")
            await self.server.send(event)
            return
        if running_on_trio():
            await trio.lowlevel.checkpoint()
        await self.on_send()
        self.sent.append((event["text"], anyio.get_current_task().name))
        self._log.append((self, event["text"]))

    def open(self, options: Options) -> WebSocket:
        transport = ASGITransport(self.server.scope, self.server.receive, self.send, options)
        outgoing: Any = (
            partial(TrioOutgoing, self.send, lambda _: True)
            if running_on_trio()
            else partial(AsyncioOutgoing, self.send)
        )
        return make_websocket(transport, options, Sides(outgoing=outgoing))


async def nothing() -> None:
    pass


async def stay(_ws: WebSocket) -> None:
    await anyio.sleep_forever()


async def fall_asleep() -> None:
    await anyio.sleep_forever()


class Once:
    """Called for every message, it does something only the first time."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do: Callable[[], object] | None = do

    async def __call__(self) -> None:
        do, self._do = self._do, None
        if do is not None:
            do()


@asynccontextmanager
async def joined(
    room: Room,
    *clients: Client,
    body: Callable[[WebSocket], Awaitable[object]] = stay,
    options: Options = Options(),
    **member: Any,
) -> AsyncIterator[anyio.abc.TaskGroup]:
    """Every client in the room, its block in a task of its own. Nothing may be left behind."""

    async def serve(client: Client, *, task_status: Any) -> None:
        try:
            async with client.open(options) as ws:
                await ws.accept()
                client.ws = ws
                with room.joined(ws, **member):
                    task_status.started()
                    await body(ws)
        except (Exception, KeyboardInterrupt, SystemExit) as exc:  # noqa: BLE001 - it is looked at
            client.error = exc

    async with testing.no_leaks(), anyio.create_task_group() as group:
        for client in clients:
            await group.start(serve, client)
        yield group
        group.cancel_scope.cancel()


# contract: S1
@on_trio_only
async def test_one_task_sends_to_all_members() -> None:
    room, clients = Room("r"), [Client() for _ in range(5)]
    async with joined(room, *clients):
        assert room.publish("a") == 5
        assert room.publish("b") == 5
        assert clients[0].texts == []  # publish itself sends nothing
        await anyio.wait_all_tasks_blocked()
        assert [client.texts for client in clients] == [["a", "b"]] * 5
        assert {task for client in clients for task in client.tasks} == {ROOM_TASK}
        assert clients[0].ws.statistics().messages_sent == 2
        assert clients[0].ws.statistics().bytes_sent == 2


# contract: S1, S4, S5
async def test_what_is_sent_behind_a_publish_goes_out_behind_it() -> None:
    room, client = Room("r"), Client()
    taken: list[str] = []

    async def body(ws: WebSocket) -> None:
        room.publish("a")
        await ws.send("b")
        taken.extend(client.texts)
        room.publish("c")
        ws.send_nowait("d")
        room.publish("e")
        await ws.flush()
        taken.append("flushed")
        taken.extend(client.texts)

    async with joined(room, client, body=body):
        await anyio.wait_all_tasks_blocked()
        assert taken == ["a", "b", "flushed", *"abcde"]


# contract: T5
async def test_a_plain_callback_publishes() -> None:
    room, client = Room("r"), Client()
    async with joined(room, client):
        if running_on_trio():
            trio.lowlevel.current_trio_token().run_sync_soon(room.publish, "a")
        else:
            client.on_send = lambda: asyncio.ensure_future(nothing())  # anyio needs a task
            asyncio.get_running_loop().call_soon(room.publish, "a")
        await anyio.sleep(1)
        assert client.texts == ["a"]


# contract: S1
async def test_a_member_whose_own_send_is_under_way() -> None:
    room, busy, other = Room("r"), Client(), Client()
    go_on = anyio.Event()
    busy.on_send = go_on.wait
    async with joined(room, busy, other) as group:
        group.start_soon(busy.ws.send, "mine")
        await anyio.wait_all_tasks_blocked()
        assert room.publish("a") == 2
        await anyio.wait_all_tasks_blocked()
        assert (busy.texts, other.texts) == ([], ["a"])
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert busy.texts == ["mine", "a"]


# contract: S1, S5
async def test_a_raw_send_that_waits_delays_no_other_member() -> None:
    room, slow, other = Room("r"), Client(), Client()
    go_on = anyio.Event()
    slow.on_send = go_on.wait
    async with joined(room, slow, other):
        for text in "abc":
            room.publish(text)
        await anyio.wait_all_tasks_blocked()
        assert (slow.texts, other.texts) == ([], [*"abc"])
        room.publish("d")
        await anyio.wait_all_tasks_blocked()
        assert (slow.texts, other.texts) == ([], [*"abcd"])
        slow.on_send = nothing
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert slow.texts == [*"abcd"]


@on_trio_only
async def test_a_task_that_had_to_wait_sends_the_rest_and_ends() -> None:
    room, slow, last = Room("r"), Client(), Client()
    go_on = anyio.Event()
    slow.on_send = go_on.wait
    async with joined(room, slow, last):
        for text in "abc":
            room.publish(text)
        await anyio.wait_all_tasks_blocked()
        names = [task.name for task in anyio.get_running_tasks()]
        assert names.count(ROOM_TASK) == 1  # it is the sender task of the slow one
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert slow.texts == last.texts == [*"abc"]
        assert ROOM_TASK not in [task.name for task in anyio.get_running_tasks()]
        slow.on_send = nothing
        room.publish("d")
        await anyio.wait_all_tasks_blocked()
        assert slow.sent[-1] == last.sent[-1] == ("d", ROOM_TASK)


# contract: S8
@on_trio_only
async def test_other_tasks_run_between_the_turns() -> None:
    room, log, members = Room("r"), list[tuple[Client, str]](), 1000
    clients = [Client(log) for _ in range(members)]
    async with joined(room, *clients):
        assert room.publish("a") == members
        sent = [0]
        while sent[-1] < members:
            await anyio.lowlevel.checkpoint()
            sent.append(len(log))
        # In one pass of trio over its tasks, this one comes before that of the room or after it.
        assert max(after - before for before, after in pairwise(sent)) <= 2 * BUDGET


# contract: S8
@on_trio_only
async def test_a_long_queue_takes_one_turn_in_each_round() -> None:
    room, log = Room("r"), list[tuple[Client, str]]()
    long, short = Client(log), Client(log)
    async with joined(room, long, short):
        room.publish("a")
        for text in "bcd":
            long.ws.send_nowait(text)
        room.publish("e")
        await anyio.wait_all_tasks_blocked()
        assert log == [
            (long, "a"),
            (short, "a"),
            (long, "b"),
            (short, "e"),
            *((long, text) for text in "cde"),
        ]


# contract: S10
async def test_a_raw_send_that_takes_too_long_ends_that_connection() -> None:
    room, stuck, other = Room("r"), Client(), Client()
    stuck.on_send = fall_asleep
    async with joined(room, stuck, other, options=Options(send_timeout=3)):
        room.publish("a")
        await anyio.sleep(4)
        assert isinstance(stuck.error, WebSocketDisconnected)
        assert isinstance(stuck.error.__cause__, TimeoutError)
        assert (other.texts, other.error) == (["a"], None)


# contract: D1
async def test_a_raw_send_that_raises_ends_that_connection() -> None:
    room, gone, other = Room("r"), Client(), Client()
    error = BrokenPipeError("gone")

    async def fail() -> None:
        raise error

    gone.on_send = fail
    async with joined(room, gone, other):
        room.publish("a")
        await anyio.wait_all_tasks_blocked()
        assert isinstance(gone.error, WebSocketDisconnected)
        assert gone.error.__cause__ is error
        assert room.publish("b") == 1
        await anyio.wait_all_tasks_blocked()
        assert (other.texts, other.error) == (["a", "b"], None)


# contract: D6
async def test_a_raw_send_that_raises_as_the_disconnect_arrives() -> None:
    room, gone, other = Room("r"), Client(), Client()

    async def fail() -> None:
        gone.server.peer.close(4000)
        raise BrokenPipeError("gone")

    gone.on_send = fail
    async with joined(room, gone, other):
        room.publish("a")
        await anyio.wait_all_tasks_blocked()
        assert isinstance(gone.error, WebSocketDisconnected)
        assert gone.error.code == 4000
        assert other.texts == ["a"]


# contract: D9
async def test_a_raw_send_that_raises_something_else_fails_that_connection_alone() -> None:
    room, hit, other = Room("r"), Client(), Client()

    async def fail() -> None:
        raise LookupError("a bug of the server")

    hit.on_send = fail
    async with joined(room, hit, other):
        room.publish("a")
        await anyio.wait_all_tasks_blocked()
        assert isinstance(hit.error, LookupError)
        assert (other.texts, other.error) == (["a"], None)


# contract: X9
@on_trio_only
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_a_raw_send_leaves_through_that_connection(
    kind: type[BaseException],
) -> None:
    room, hit, other = Room("r"), Client(), Client()

    async def interrupt() -> None:
        raise kind

    hit.on_send = interrupt
    async with joined(room, hit, other):
        room.publish("a")
        room.publish("b")
        await anyio.wait_all_tasks_blocked()
        assert isinstance(hit.error, kind)
        assert (other.texts, other.error) == (["a", "b"], None)


# contract: X9
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_an_interrupt_in_a_raw_send_leaves_the_call_that_publishes() -> None:
    room, hit, other = Room("r"), Client(), Client()

    async def interrupt() -> None:
        raise KeyboardInterrupt

    hit.on_send = interrupt
    async with joined(room, hit, other):
        with pytest.raises(KeyboardInterrupt):
            room.publish("a")
        assert room.publish("b") == 1
        await anyio.wait_all_tasks_blocked()
        assert isinstance(hit.error, WebSocketDisconnected)
        assert other.texts == ["a", "b"]


# contract: X9
@on_trio_only
async def test_a_raw_send_that_the_server_cancels() -> None:
    room, hit, other = Room("r"), Client(), Client()
    cancellations: list[trio.Cancelled] = []

    async def cancelled() -> None:
        raise cancellations[0]

    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            cancellations.append(exc)
            raise
    hit.on_send = cancelled
    async with joined(room, hit, other):
        room.publish("a")
        await anyio.wait_all_tasks_blocked()
        assert isinstance(hit.error, WebSocketDisconnected)
        assert (other.texts, other.error) == (["a"], None)


# contract: C4
async def test_a_block_that_ends_at_once_sends_what_was_published() -> None:
    room, client = Room("r"), Client()

    async def publish_and_end(_ws: WebSocket) -> None:
        room.publish("a")
        room.publish("b")

    async with joined(room, client, body=publish_and_end):
        await anyio.wait_all_tasks_blocked()
        assert client.texts == ["a", "b"]
        assert client.closes == [1000]
        client.server.peer.close()
        await anyio.wait_all_tasks_blocked()
        assert client.error is None


@on_trio_only
async def test_a_member_that_is_dropped_before_its_turn() -> None:
    room, client, other = Room("r"), Client(), Client()
    async with joined(room, client, options=Options(send_buffer=2)), joined(room, other):
        assert [room.publish(text) for text in "abc"] == [2, 2, 1]
        await anyio.wait_all_tasks_blocked()
        assert client.texts == []
        assert isinstance(client.error, WebSocketDisconnected)
        assert (other.texts, other.error) == ([*"abc"], None)


async def test_a_member_that_is_dropped_in_the_middle_of_its_raw_send() -> None:
    room, client, other = Room("r"), Client(), Client()

    async def overflow() -> None:
        client.on_send = nothing
        for text in "bcd":
            room.publish(text)
        await anyio.sleep_forever()

    client.on_send = overflow
    options = Options(send_buffer=2, close_timeout=3)
    async with joined(room, client, options=options), joined(room, other):
        room.publish("a")
        await anyio.sleep(4)
        assert client.texts == []
        assert isinstance(client.error, WebSocketDisconnected)
        assert (other.texts, other.error) == ([*"abcd"], None)


@on_trio_only
async def test_a_connection_that_ends_in_the_first_step_of_a_raw_send_that_waits() -> None:
    room, client, other = Room("r"), Client(), Client()

    async def end() -> None:
        connection_of(client.ws).lifecycle.end_abnormally(BrokenPipeError("gone"))
        await anyio.sleep_forever()

    client.on_send = end
    async with joined(room, client, other):
        room.publish("a")
        await anyio.wait_all_tasks_blocked()
        assert isinstance(client.error, WebSocketDisconnected)
        assert (other.texts, other.error) == (["a"], None)


@on_trio_only
async def test_a_message_that_is_refused_starts_no_task() -> None:
    room, client = Room("r"), Client()
    options = Options(send_buffer_bytes=10)
    async with joined(room, client, options=options, overflow="drop_newest"):
        assert room.publish("x" * 11) == 0
        assert ROOM_TASK not in [task.name for task in anyio.get_running_tasks()]
        await client.ws.send("next")
        assert client.sent == [("next", anyio.get_current_task().name)]


# contract: S3
async def test_a_send_behind_a_publish_that_was_cancelled_is_not_sent() -> None:
    room, client = Room("r"), Client()
    go_on = anyio.Event()

    async def body(ws: WebSocket) -> None:
        room.publish("a")
        async with anyio.create_task_group() as group:
            group.start_soon(ws.send, "withdrawn")
            await anyio.wait_all_tasks_blocked()
            ws.send_nowait("b")
            group.cancel_scope.cancel()
        go_on.set()
        await anyio.sleep_forever()

    client.on_send = go_on.wait
    async with joined(room, client, body=body):
        await anyio.sleep(1)
        assert client.texts == ["a", "b"]


# contract: S8
async def test_after_a_turn_without_a_message_the_next_one_is_sent_in_place() -> None:
    """The newer state replaces the older one, and does not fit."""
    room, client = Room("r"), Client()
    options = Options(send_buffer_bytes=10)
    go_on = anyio.Event()
    async with joined(room, client, options=options, overflow="latest"):
        if not running_on_trio():  # something must keep the state from being sent at once
            client.on_send = go_on.wait
            room.publish("first", key="other")
        room.publish("small", key="k")
        assert room.publish("x" * 11, key="k") == 0
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        client.sent.clear()
        client.on_send = nothing
        await client.ws.send("next")
        assert client.sent == [("next", anyio.get_current_task().name)]


# contract: S1
async def test_a_hook_that_sends_in_the_middle_of_a_turn() -> None:
    room, client, other = Room("r"), Client(), Client()

    def echo(event: hooks.Event) -> None:
        if isinstance(event, hooks.MessageSent) and event.message in ("a", "b"):
            client.ws.send_nowait(f"after {event.message!s}")

    async with joined(room, client, options=Options(hooks=[echo])), joined(room, other):
        for text in "ab":
            room.publish(text)
        await anyio.wait_all_tasks_blocked()
        assert [text for text in client.texts if len(text) == 1] == ["a", "b"]
        assert sorted(client.texts) == ["a", "after a", "after b", "b"]
        assert other.texts == ["a", "b"]


# contract: X9
@on_trio_only
async def test_a_hook_that_ends_the_process_in_the_middle_of_a_turn() -> None:
    room, client, other = Room("r"), Client(), Client()

    def leave(event: hooks.Event) -> None:
        if isinstance(event, hooks.MessageSent):
            raise SystemExit(3)

    async with joined(room, client, options=Options(hooks=[leave])), joined(room, other):
        room.publish("a")
        await anyio.wait_all_tasks_blocked()
        assert isinstance(client.error, SystemExit)
        assert (other.texts, other.error) == (["a"], None)


# contract: S1
async def test_a_hook_that_publishes_in_the_middle_of_a_delivery() -> None:
    """Every member gets the messages in the order of the calls."""
    room, clients = Room("r"), [Client() for _ in range(3)]

    def answer(event: hooks.Event) -> None:
        if isinstance(event, hooks.MessageSent) and event.message == "a":
            room.publish("b")

    options = Options(hooks=[answer])
    async with (
        joined(room, clients[0]),
        joined(room, clients[1], options=options),
        joined(room, clients[2]),
    ):
        room.publish("a")
        room.publish("c")
        await anyio.wait_all_tasks_blocked()
        orders = [client.texts for client in clients]
        assert sorted(orders[0]) == ["a", "b", "c"]
        assert orders == [orders[0]] * 3


# contract: S1, B1
@pytest.mark.parametrize("first", [0, 1, 2])
async def test_a_raw_send_that_publishes_to_the_room(first: int) -> None:
    room, clients = Room("r"), [Client() for _ in range(3)]
    clients[first].on_send = Once(lambda: room.publish("b"))
    async with joined(room, *clients):
        room.publish("a")
        room.publish("c")
        await anyio.wait_all_tasks_blocked()
        orders = [client.texts for client in clients]
        assert sorted(orders[0]) == ["a", "b", "c"]
        assert orders == [orders[0]] * 3


async def test_a_member_that_leaves_in_the_middle_of_a_delivery() -> None:
    """It was in when the message was published, so it is sent it."""
    room, first, second = Room("r"), Client(), Client()
    left = anyio.Event()

    async def leave(ws: WebSocket) -> None:
        await left.wait()

    first.on_send = Once(left.set)
    async with joined(room, first), joined(room, second, body=leave):
        room.publish("a")
        await anyio.wait_all_tasks_blocked()
        assert room.size == 1
        assert room.publish("b") == 1
        await anyio.wait_all_tasks_blocked()
        assert (first.texts, second.texts) == (["a", "b"], ["a"])
        second.server.peer.close()


# contract: C2
async def test_a_member_that_closes_in_the_middle_of_a_delivery() -> None:
    room, first, second = Room("r"), Client(), Client()
    async with joined(room, first, second) as group:
        first.on_send = Once(lambda: group.start_soon(second.ws.close, 4000))
        room.publish("a")
        await anyio.wait_all_tasks_blocked()
        assert (first.texts, second.texts) == (["a"], ["a"])
        assert second.closes == [4000]
        assert room.publish("b") == 1
        second.server.peer.close()


# contract: L2, X5
@pytest.mark.parametrize("order", range(8))
def test_an_event_loop_that_ends_in_the_middle_of_a_delivery(order: int) -> None:
    """trio cancels all system tasks then: that of the room, and the one with the block."""
    room, clients, ended = Room("r"), [Client() for _ in range(2)], list[Client]()
    texts = [str(number) for number in range(200)]  # more than the room sends before the end

    async def serve(client: Client) -> None:
        try:
            async with client.open(Options(close_timeout=0.1)) as ws:
                await ws.accept()
                with room.joined(ws):
                    await trio.sleep_forever()
        finally:
            ended.append(client)

    async def main() -> None:
        for client in clients:
            trio.lowlevel.spawn_system_task(serve, client)
        await trio.testing.wait_all_tasks_blocked()
        for text in texts:
            room.publish(text)

    with ordered(order):
        trio.run(main)
    assert set(ended) == set(clients)
    for client in clients:
        assert client.texts == texts[: len(client.texts)] != texts
