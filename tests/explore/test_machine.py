"""A live connection compared with the transition table, in any order of events."""

import asyncio
import contextlib

import anyio
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wsnursery import LocalProtocolError, WebSocketDisconnected, open_websocket
from wsnursery._engine.states import TRANSITIONS, State, Transition
from wsnursery.testing import Server, virtual_backend

SETTLE = 30  # turns of the loop until nothing more comes of a call
REFUSALS = (LocalProtocolError, WebSocketDisconnected, anyio.ClosedResourceError)


class ConnectionMachine(RuleBasedStateMachine):
    """Calls the WebSocket and its peer, and follows the table in parallel."""

    def __init__(self):
        super().__init__()
        _, options = virtual_backend("asyncio")
        self.runner = asyncio.Runner(**options)
        self.server = Server(answers_close=False)
        self.state = State.CONNECTING
        self.runner.run(self._open())
        self._take(Transition.CONNECT)

    async def _open(self):
        self.block = asyncio.create_task(self._stay())
        await self._settle()

    async def _stay(self):
        server = self.server
        with contextlib.suppress(WebSocketDisconnected, anyio.ClosedResourceError):
            async with open_websocket(server.scope, server.receive, server.send) as self.ws:
                await anyio.sleep_forever()

    async def _settle(self):
        for _ in range(SETTLE):
            await asyncio.sleep(0)

    def _take(self, *events):
        for event in events:
            self.state = TRANSITIONS[self.state][event]

    def _call(self, make, event):
        """Make a call. It must be refused if its event is not in the table."""

        async def call():
            try:
                async with asyncio.timeout(1):
                    await make()
            except REFUSALS:
                return False
            finally:
                await self._settle()
            return True

        done = self.runner.run(call())
        legal = event in TRANSITIONS[self.state]
        assert done == legal or self.state is State.CLOSED
        return done

    def _do(self, peers):
        """Let the peer do something."""

        async def do():
            with contextlib.suppress(anyio.WouldBlock):
                peers()
            await self._settle()

        self.runner.run(do())

    @rule()
    def accept(self):
        if self._call(self.ws.accept, Transition.ACCEPT):
            self._take(Transition.ACCEPT, Transition.ACCEPTED)

    @rule()
    def send(self):
        if self._call(lambda: self.ws.send("hello"), Transition.MESSAGE_OUT):
            self._take(Transition.MESSAGE_OUT)

    @rule()
    def reject(self):
        if self._call(self.ws.reject, Transition.REJECT):
            # The denial has been sent, and no event can follow it.
            self._take(Transition.REJECT, Transition.END)

    @precondition(lambda self: self.state not in (State.CONNECTING, State.REQUESTED))
    @rule()
    def close(self):
        if self._call(self.ws.close, Transition.CLOSE):
            self._take(Transition.CLOSE)

    @precondition(lambda self: self.state is State.OPEN)
    @rule()
    def message(self):
        self._do(lambda: self.server.peer.send_nowait("hello"))
        self._take(Transition.MESSAGE_IN)

    @rule()
    def vanish(self):
        self._do(self.server.peer.vanish)
        self._take(Transition.DISCONNECT)

    @invariant()
    def the_state_is_the_tables(self):
        assert self.ws.state == self.state.value

    @invariant()
    def nobody_did_what_nobody_may_do(self):
        assert self.server.transcript.violations == []

    def teardown(self):
        async def end():
            self.block.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.block

        self.runner.run(end())
        self.runner.close()


TestConnection = ConnectionMachine.TestCase
TestConnection.settings = settings(
    max_examples=200, stateful_step_count=12, deadline=None, derandomize=True
)
