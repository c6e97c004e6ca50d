"""Scenarios out of applications, and what fails them."""

import anyio
import pytest

from wsnursery import testing

HELLO = {"type": "websocket.send", "text": "hello"}


async def greeter(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await send(HELLO)
    while (await receive())["type"] == "websocket.receive":
        pass


async def listen(client):
    assert await client.receive() == "hello"


def explore(app, talk=listen, **options):
    faults = options.pop("faults", ("oserror", "gone", "lost"))
    scenario = testing.conversation(app, talk, **options)
    return testing.explore(scenario, backends=["asyncio"], faults=faults)


def failure(app, talk=listen, **options):
    with pytest.raises(testing.ExplorationFailed) as caught:
        explore(app, talk, **options)
    return caught.value.failure


def test_a_good_application():
    assert explore(greeter).runs > 10


def test_the_undisturbed_run_must_get_through():
    async def leaves(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})

    assert isinstance(failure(leaves).error, BaseExceptionGroup)


def test_a_denial_when_nothing_is_wrong():
    async def denies(scope, receive, send):
        await send({"type": "websocket.close"})

    assert failure(denies).run == 1


def test_what_the_application_may_raise():
    class Gone(Exception):
        pass

    async def translates(scope, receive, send):
        try:
            await greeter(scope, receive, send)
        except OSError as error:
            raise Gone from error

    assert isinstance(failure(translates).error, Gone)
    assert explore(translates, may_raise=(Gone,)).runs > 10


def test_a_check_for_every_run():
    def check(client):
        assert client.transcript.from_app == ["hello"]

    found = failure(greeter, check=check)
    assert isinstance(found.error, AssertionError)
    assert found.run > 1


def test_an_assertion_in_the_talk():
    async def talk(client):
        assert await client.receive() == "goodbye"

    assert failure(greeter, talk).run == 1


def test_an_application_that_waits_for_what_never_comes():
    async def waits(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        swallow = False
        while (event := await receive())["type"] != "websocket.disconnect":
            if event["type"] == "websocket.receive" and not swallow:
                await send(HELLO)
            swallow = event["type"] == "websocket.unknown"

    async def talk(client):
        await client.send("a")
        assert await client.receive() == "hello"

    assert explore(waits, talk, faults=["garbage", "stall"]).runs > 20


def test_an_application_that_gets_stuck_by_itself():
    async def sleeps(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await anyio.sleep_forever()

    found = failure(sleeps)
    assert isinstance(found.error, BaseExceptionGroup)
    assert "sent nothing" in str(found.error.exceptions[0])


def test_an_application_that_fails_during_the_handshake():
    async def app(scope, receive, send):
        await receive()
        await anyio.lowlevel.checkpoint()
        await greeter(scope, receive, send)

    assert failure(app).run == 1


def test_an_error_of_the_talk():
    async def talk(client):
        raise ZeroDivisionError

    assert failure(greeter, talk).run == 1
