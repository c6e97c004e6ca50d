"""Check a transport against the rules that every connection must keep."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias, TypeVar

import anyio

from wsnursery import Options, WebSocket, WebSocketDisconnected

from ._errors import ConnectionEnded


class Remote(Protocol):
    """The other end of a connection, which `check_transport` controls."""

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        ...

    async def receive(self) -> str | bytes:
        """Wait for a message. Answer a close frame, and raise `ConnectionEnded` for it."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame."""
        ...

    async def vanish(self) -> None:
        """End the connection without a close frame."""
        ...


Block: TypeAlias = AbstractAsyncContextManager[WebSocket]
"""The block of a WebSocket. The WebSocket is open once the block is entered."""

PairFactory: TypeAlias = Callable[[Options], AbstractAsyncContextManager[tuple[Block, Remote]]]
"""Makes a connection in memory: our end, which the check enters, and the other end."""

T = TypeVar("T")

Check: TypeAlias = Callable[[PairFactory], Awaitable[None]]


async def check_transport(pair: PairFactory) -> None:
    """Check that a transport carries a WebSocket as the contract requires.

    Every check makes its own connection. Run it in virtual time, on every backend that the
    transport supports.

    Args:
        pair: Makes two connected ends in memory.

    Raises:
        ExceptionGroup: Some checks failed. Each error has a note with the violated rule.

    *Checkpoint*: yes. *Cancellation*: ends the current check, with its connection.
    """
    await run_checks("transport", TRANSPORT_CHECKS, pair)


async def run_checks(
    subject: str, checks: Mapping[str, Callable[[T], Awaitable[None]]], argument: T
) -> None:
    """Run every check, and report all failures with the violated rules."""
    failures: list[Exception] = []
    for rule, check in checks.items():
        try:
            with anyio.fail_after(CHECK_SECONDS):
                await check(argument)
        except Exception as exc:  # noqa: BLE001 - all failures are reported
            exc.add_note(f"the {subject} breaks the rule: {rule}")
            failures.append(exc)
    if failures:
        raise ExceptionGroup(f"the {subject} does not keep the contract", failures)


CHECK_SECONDS = 60.0
"""The most seconds for one check, which is more than all timeouts of the options together."""

MESSAGES = ("text", b"bytes", "", b"", "\N{SNOWMAN}" * 1000, bytes(range(256)) * 40)


async def _messages(pair: PairFactory) -> None:
    async with pair(Options()) as (block, remote), block as ws:
        for message in MESSAGES:
            await ws.send(message)
            assert await remote.receive() == message
            await remote.send(message)
            assert await ws.receive() == message


async def _many_senders(pair: PairFactory) -> None:
    async with pair(Options()) as (block, remote), block as ws:

        async def push(sender: int) -> None:
            for number in range(20):
                await ws.send(f"{sender} {number}")

        for sender in range(10):
            ws.start_soon(push, sender)
        got = [str(await remote.receive()).split() for _ in range(200)]
        for sender in range(10):
            numbers = [int(number) for who, number in got if int(who) == sender]
            assert numbers == list(range(20))


async def _peer_closes(pair: PairFactory) -> None:
    sent = [f"{number}" for number in range(10)]
    async with pair(Options()) as (block, remote), block as ws:

        async def speak() -> None:
            for message in sent:
                await remote.send(message)
            await remote.close(4001, "bye")

        async with anyio.create_task_group() as group:
            group.start_soon(speak)
            assert [message async for message in ws] == sent
        assert ws.close_code in {4001, 1006, None}
        assert ws.state == "closed"


async def _own_close(pair: PairFactory) -> None:
    async with pair(Options()) as (block, remote):
        async with anyio.create_task_group() as group, block as ws:
            ws.send_nowait("last")
            await ws.close(4002, "enough")
            group.start_soon(_expect_close, remote, ("last",), 4002)
        assert (ws.close_code, ws.close_reason) == (4002, "enough")


async def _expect_close(remote: Remote, messages: tuple[str, ...], code: int) -> None:
    got: list[str | bytes] = []
    ended_with: int | None = None
    try:
        while True:
            got.append(await remote.receive())
    except ConnectionEnded as end:
        ended_with = end.code
    assert (tuple(got), ended_with) == (messages, code)


async def _normal_end(pair: PairFactory) -> None:
    async with (
        pair(Options()) as (block, remote),
        anyio.create_task_group() as group,
        block as ws,
    ):
        await ws.send("last")
        group.start_soon(_expect_close, remote, ("last",), 1000)


async def _failing_body(pair: PairFactory) -> None:
    error = LookupError("body")
    async with pair(Options()) as (block, remote), anyio.create_task_group() as group:
        caught: Exception | None = None
        try:
            async with block:
                group.start_soon(_expect_close, remote, (), 1011)
                raise error
        except LookupError as exc:
            caught = exc
        assert caught is error


async def _cancelled_body(pair: PairFactory) -> None:
    async with pair(Options()) as (block, remote), anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with block:
                group.start_soon(_expect_close, remote, (), 1001)
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught


async def _vanished_peer(pair: PairFactory) -> None:
    cleaned: list[str] = []
    try:
        async with pair(Options()) as (block, remote), block as ws:

            async def child() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    cleaned.append("child")

            ws.start_soon(child)
            await anyio.lowlevel.checkpoint()
            await remote.vanish()
            await anyio.sleep_forever()
    except WebSocketDisconnected:
        cleaned.append("body")
    assert cleaned == ["child", "body"]
    assert anyio.current_time() < CHECK_SECONDS * len(TRANSPORT_CHECKS)


async def _calls_after_the_end(pair: PairFactory) -> None:
    async with pair(Options()) as (block, remote), block as ws:
        await remote.close(1000, "")
        assert [message async for message in ws] == []
        refused = 0
        for _ in range(3):
            try:
                await ws.send("too late")
            except WebSocketDisconnected:
                refused += 1
        assert refused == 3


async def _cancelled_sends(pair: PairFactory) -> None:
    got: list[int] = []

    async def read(remote: Remote) -> None:
        while (message := str(await remote.receive())) != "end":
            number, _, rest = message.partition(" ")
            assert rest == "x" * 5000
            got.append(int(number))

    async with pair(Options()) as (block, remote), block as ws:
        async with anyio.create_task_group() as group:
            group.start_soon(read, remote)
            for number in range(50):
                with anyio.CancelScope() as scope:
                    ws.start_soon(_cancel_soon, scope, number % 5)
                    await ws.send(f"{number} {'x' * 5000}")
            await ws.send("end")
        assert got == sorted(set(got))


async def _cancel_soon(scope: anyio.CancelScope, checkpoints: int) -> None:
    for _ in range(checkpoints):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def _cancelled_receives(pair: PairFactory) -> None:
    async with pair(Options()) as (block, remote), block as ws:

        async def speak() -> None:
            for number in range(20):
                await remote.send(f"{number}")

        ws.start_soon(speak)
        got: list[str | bytes] = []
        attempts = 0
        while len(got) < 20:
            attempts += 1
            with anyio.CancelScope() as scope:
                ws.start_soon(_cancel_soon, scope, attempts % 5)
                got.append(await ws.receive())
        assert got == [f"{number}" for number in range(20)]


async def _big_message(pair: PairFactory) -> None:
    options = Options(max_message_size=100)
    async with (
        pair(options) as (block, remote),
        anyio.create_task_group() as group,
        block as ws,
    ):
        await remote.send("good")
        await remote.send("x" * 101)
        group.start_soon(_expect_close, remote, (), 1009)
        assert [message async for message in ws] == ["good"]
        assert ws.close_code == 1009


async def _full_inbox(pair: PairFactory) -> None:
    async with pair(Options(receive_buffer=4)) as (block, remote), block as ws:

        async def speak() -> None:
            for number in range(50):
                await remote.send(f"{number}")

        ws.start_soon(speak)
        await anyio.sleep(1)
        assert ws.statistics().receive_buffer_used <= 4
        assert [await ws.receive() for _ in range(50)] == [f"{number}" for number in range(50)]
        assert ws.statistics().receive_buffer_high_water <= 4


TRANSPORT_CHECKS: dict[str, Check] = {
    "messages of every kind pass both ways, unchanged (R1, S6)": _messages,
    "the messages of many tasks keep their order (S1)": _many_senders,
    "what came before the peer's close is read, then the loop ends (R5, R6)": _peer_closes,
    "a close of yours follows what was queued, with its code and reason (C2, D6)": _own_close,
    "the end of the body closes with 1000 (C4)": _normal_end,
    "an error of the body leaves as it is and closes with 1011 (X1)": _failing_body,
    "a cancellation from outside closes with 1001 and goes on (X5)": _cancelled_body,
    "a peer that vanishes ends body and children (D2)": _vanished_peer,
    "calls after the end raise WebSocketDisconnected (S7)": _calls_after_the_end,
    "a cancelled send leaves a whole message or none (S3)": _cancelled_sends,
    "a cancelled receive loses nothing (R1)": _cancelled_receives,
    "a message over the limit closes with 1009 (T4)": _big_message,
    "an inbox that is full slows the peer down (R2)": _full_inbox,
}
"""The checks, with the rules of the contract."""
