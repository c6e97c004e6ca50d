"""One worker process of the benchmark of shared rooms; `_rooms` starts it."""

from __future__ import annotations

import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import anyio

from wsnursery import Options, Room, WebSocket, open_websocket, testing
from wsnursery.redis import RedisEngine
from wsnursery.rooms import SharedRooms

from ._rooms import PREFIX

TEXT = 1024 * "x"
BURST = 20  # messages that are published before the wait for the members
SAMPLES = 200  # of the latency
OPTIONS = Options(send_buffer=100_000, send_buffer_bytes=1 << 30)

Publish = Callable[[str], object]


@asynccontextmanager
async def opened() -> AsyncGenerator[tuple[WebSocket, testing.Peer]]:
    """A connection in memory."""
    server = testing.Server(send_queue=1_000_000)
    async with open_websocket(server.scope, server.receive, server.send, options=OPTIONS) as ws:
        await ws.accept()
        yield ws, server.peer


async def drain(peers: list[testing.Peer], messages: int) -> None:
    """Wait until each peer has this many messages."""
    for peer in peers:
        for _ in range(messages):
            await peer.receive()


async def wait_for_go() -> None:
    """Report that this worker is ready, and wait until the others are."""
    print("ready", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)


async def publish_all(
    publish: Publish, peers: list[testing.Peer], messages: int
) -> dict[str, float]:
    """Publish in bursts; the processor time of a message, and the latency of one alone."""
    began = time.process_time()
    for _ in range(messages // BURST):
        for _ in range(BURST):
            publish(TEXT)
        await drain(peers, BURST)
    cpu = (time.process_time() - began) / messages
    latencies: list[float] = []
    for _ in range(SAMPLES if len(peers) == 1 else 0):
        start = time.perf_counter()
        publish(TEXT)
        await drain(peers, 1)
        latencies.append(time.perf_counter() - start)
    return {"cpu": cpu, "latency": statistics.median(latencies) if latencies else 0.0}


async def alone(members: int, messages: int) -> dict[str, float]:
    """The room of one process."""
    room = Room("r", history=100)
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(opened()) for _ in range(members)]
        for ws, _ in pairs:
            stack.enter_context(room.joined(ws))
        await wait_for_go()
        return await publish_all(room.publish, [peer for _, peer in pairs], messages)


async def shared(
    rooms: SharedRooms, members: int, messages: int, *, publishes: bool
) -> dict[str, float]:
    """A worker with members of a shared room."""
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(opened()) for _ in range(members)]
        for ws, _ in pairs:
            stack.enter_context(rooms.joined("r", ws))
        await anyio.sleep(0.3)
        peers = [peer for _, peer in pairs]
        if publishes:
            await wait_for_go()
            return await publish_all(lambda text: rooms.publish("r", text), peers, messages)
        print("ready", flush=True)
        began = time.process_time()
        await drain(peers, messages)
        return {"cpu": (time.process_time() - began) / messages}


async def many(rooms: SharedRooms, number: int) -> dict[str, float]:
    """Join many rooms, and synchronize them again after the connection was lost."""
    async with opened() as (ws, _):
        await wait_for_go()
        began = time.process_time()
        with ExitStack() as stack:
            for index in range(number):
                stack.enter_context(rooms.joined(f"room {index}", ws))
            await synchronized(rooms)
            join = time.process_time() - began
            began = time.process_time()
            reconnects = rooms.statistics().reconnects
            engine: Any = rooms._engine  # pyright: ignore[reportPrivateUsage]
            engine._session.fail(ConnectionError("for the benchmark"))
            while rooms.statistics().reconnects == reconnects:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            await synchronized(rooms)
            back = time.process_time() - began
        await anyio.sleep(6)  # the rooms linger
        tracemalloc.start()
        with ExitStack() as stack:
            before = tracemalloc.get_traced_memory()[0]
            for index in range(number):
                stack.enter_context(rooms.joined(f"room {index}", ws))
            await synchronized(rooms)
            await anyio.sleep(0.2)
            after = tracemalloc.get_traced_memory()[0]
        return {"join": join, "back": back, "bytes": (after - before) / number}


async def synchronized(rooms: SharedRooms) -> None:
    """Wait until every room is live."""
    while rooms.state != "live" or rooms.statistics().not_live:  # noqa: ASYNC110
        await anyio.sleep(0.005)


async def main(url: str, role: str, numbers: list[int]) -> None:
    """Run the role, and print the results."""
    if role == "alone":
        print(json.dumps(await alone(*numbers)))
        return
    rooms = SharedRooms(RedisEngine(url, prefix=PREFIX), history=100)
    async with rooms.running():
        await rooms.wait_live()
        if role == "many":
            result = await many(rooms, *numbers)
        else:
            result = await shared(rooms, *numbers, publishes=role == "publish")
        print(json.dumps(result))


if __name__ == "__main__":
    anyio.run(main, sys.argv[2], sys.argv[3], list(map(int, sys.argv[4:])), backend=sys.argv[1])
