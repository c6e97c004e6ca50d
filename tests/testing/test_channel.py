"""The shared state of a connection."""

import dataclasses

import anyio

from wsnursery import testing
from wsnursery.testing._channel import Channel


async def test_the_first_end_counts():
    channel = Channel(testing.SILENT)
    channel.finish(channel.disconnect_event(1000, "first"))
    channel.leave(channel.disconnect_event(1006))
    assert channel.end == {"type": "websocket.disconnect", "code": 1000, "reason": "first"}


async def test_waiting_for_a_change():
    channel = Channel(testing.DAPHNE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.until, lambda: channel.accepted)
        await anyio.wait_all_tasks_blocked()
        channel.notify()
        await anyio.wait_all_tasks_blocked()
        channel.accepted = True
        channel.notify()
    assert channel.room_to_app
    assert channel.room_to_peer


async def test_the_times_begin_with_the_first_entry():
    channel = Channel(testing.SILENT)
    await anyio.sleep(5)
    channel.log("app", "connect")
    await anyio.sleep(1)
    channel.log("app", "accept")
    assert [entry.time for entry in channel.transcript] == [0, 1]


def test_the_wording_of_the_disconnect():
    channel = Channel(testing.HYPERCORN_TRIO)
    assert channel.disconnect_event(1006, "bye") == {"type": "websocket.disconnect", "code": 1006}


def test_the_disconnect_may_say_nothing():
    rules = dataclasses.replace(testing.SILENT, reports_code=False)
    assert Channel(rules).disconnect_event(1006) == {"type": "websocket.disconnect"}
