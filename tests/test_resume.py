"""The recipe of `examples/resume.py`: it resumes after the last message that was applied."""

from contextlib import asynccontextmanager

import anyio
import pytest

from examples import resume

URL = "ws://example.org/"


class Texts:
    """What comes in one session."""

    def __init__(self, texts):
        self._texts = list(texts)

    def __aiter__(self):
        return self

    async def __anext__(self):
        await anyio.lowlevel.checkpoint()
        if not self._texts:
            raise StopAsyncIteration
        return self._texts.pop(0)


def connector(sessions, urls):
    """One session after the other: the texts that come, and how it ends."""

    @asynccontextmanager
    async def connect(url):
        urls.append((anyio.current_time(), url))
        await anyio.lowlevel.checkpoint()
        texts, end = sessions.pop(0)

        yield Texts(texts)
        raise end

    return connect


async def test_it_resumes_after_what_it_has_applied(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    urls: list[tuple[float, str]] = []
    applied: list[dict[str, object]] = []
    sessions = [
        (['{"at":"e.1"}', '{"at":"e.2","said":1}'], resume.Ended(1012)),
        (['{"missed":3}', '{"at":"f.7","said":2}'], resume.Ended(1013)),
        ([], ConnectionRefusedError()),
        ([], resume.Ended(4000)),
    ]
    await resume.follow(connector(sessions, urls), URL, applied.append)
    assert [url.partition("after=")[2] for _, url in urls] == ["", "e.2", "f.7", "f.7"]
    assert [time for time, _ in urls] == pytest.approx([0, 0.5, 2.5, 4.5])
    assert [message.get("said") for message in applied] == [None, 1, None, 2]


async def test_a_message_that_was_not_applied_is_asked_for_again():
    urls: list[tuple[float, str]] = []

    def apply(message):
        if message["said"] == 2:
            raise LookupError("in the application")

    sessions = [(['{"at":"e.1","said":1}', '{"at":"e.2","said":2}'], resume.Ended(1012))]
    with pytest.raises(LookupError):
        await resume.follow(connector(sessions, urls), URL, apply)


def test_the_recipe_is_short():
    import inspect

    for part in (resume.follow, resume.over_wsnursery, resume.over_websockets):
        assert len(inspect.getsource(part).splitlines()) <= 60
