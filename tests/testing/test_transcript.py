"""The transcript."""

from tests.testing.test_asgi import CLOSE, HELLO, accepted
from wsnursery.testing import Transcript, TranscriptEntry
from wsnursery.testing._transcript import attach, attached


async def test_everything_in_order():
    server = await accepted()
    assert server.transcript.app_close is None
    await server.peer.send("hi")
    await server.receive()
    await server.send(HELLO)
    await server.send(CLOSE)
    transcript = server.transcript
    assert transcript.lines == [
        "app connect",
        "app accept",
        "peer send 'hi'",
        "app receive 'hi'",
        "app send 'hello'",
        "app close 4000 enough",
    ]
    assert len(transcript) == 6
    assert [entry.verb for entry in transcript][:2] == ["connect", "accept"]
    assert str(transcript).splitlines()[0] == "    0.000  app connect"
    assert transcript.from_app == ["hello"]
    assert transcript.from_peer == ["hi"]
    assert transcript.received_by_app == ["hi"]
    assert transcript.app_close == (4000, "enough")
    assert transcript.violations == []


def test_violations():
    transcript = Transcript()
    transcript.record_violation("two raw sends at once")
    assert transcript.violations == ["two raw sends at once"]


def test_an_exception_carries_the_last_lines():
    transcript = Transcript()
    for number in range(150):
        transcript.add(TranscriptEntry(0, "app", "send", f"{number}"))
    error = ValueError("no")
    assert attached(error) == []
    attach(transcript, error)
    attach(Transcript(), error)
    first, second = attached(error)
    assert (len(first.splitlines()), second) == (100, "")
    assert first.endswith("app send '149'")
    assert (str(error), hasattr(error, "__notes__")) == ("no", False)
