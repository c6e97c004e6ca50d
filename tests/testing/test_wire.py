"""The shared state of a connection."""

import dataclasses

import anyio

from wsnursery import testing
from wsnursery.testing._wire import Wire


async def test_the_first_end_counts():
    wire = Wire(testing.SILENT)
    wire.finish(wire.disconnect_event(1000, "first"))
    wire.leave(wire.disconnect_event(1006))
    assert wire.end == {"type": "websocket.disconnect", "code": 1000, "reason": "first"}


async def test_waiting_for_a_change():
    wire = Wire(testing.DAPHNE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wire.until, lambda: wire.accepted)
        await anyio.wait_all_tasks_blocked()
        wire.notify()
        await anyio.wait_all_tasks_blocked()
        wire.accepted = True
        wire.notify()
    assert wire.room_to_app
    assert wire.room_to_peer


async def test_the_times_begin_with_the_first_entry():
    wire = Wire(testing.SILENT)
    await anyio.sleep(5)
    wire.log("app", "connect")
    await anyio.sleep(1)
    wire.log("app", "accept")
    assert [entry.time for entry in wire.transcript] == [0, 1]


def test_the_wording_of_the_disconnect():
    wire = Wire(testing.HYPERCORN_TRIO)
    assert wire.disconnect_event(1006, "bye") == {"type": "websocket.disconnect", "code": 1006}


def test_the_disconnect_may_say_nothing():
    rules = dataclasses.replace(testing.SILENT, reports_code=False)
    assert Wire(rules).disconnect_event(1006) == {"type": "websocket.disconnect"}
