"""The page, its pictures and its WebSockets, and who may access them."""

import pytest

from examples.demonstration._assets import HEADERS as PROTECTION
from examples.demonstration._assets import PICTURE_POLICY, read_assets
from examples.demonstration.application import SEND_TIMEOUT
from tests.demonstration._peers import HEADERS, HOST, Stage, staged, until, until_true
from wsnursery import testing


async def test_the_page_and_its_files() -> None:
    stage = Stage()
    for path, expected in read_assets().items():
        status, headers, body = await stage.get(path)
        assert (status, body) == (200, expected)
        assert headers["content-length"] == str(len(expected))
        assert PROTECTION.items() <= headers.items()


@pytest.mark.parametrize(
    "path", ["/nothing", "/page.html", "/../page.css", "/story/1.svg", "/story/x.svg", "/chat"]
)
async def test_there_is_nothing_else(path: str) -> None:
    status, headers, _ = await Stage().get(path)
    assert status == 404
    assert headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("host", [b"evil.example", b"127.0.0.1:8001", b""])
async def test_another_name_is_refused(host: bytes) -> None:
    stage = Stage()
    status, headers, body = await stage.get("/", host=host)
    assert status == 421
    assert b"--bind" in body
    assert PROTECTION.items() <= headers.items()
    for path in ("/watch", "/chat", "/test"):
        with pytest.raises(testing.HandshakeDenied):
            async with stage.connect(path, headers=[(b"host", host)]):
                pass


@pytest.mark.parametrize("path", ["/watch", "/chat", "/test"])
async def test_another_sites_page_is_denied(path: str) -> None:
    headers = [(b"host", HOST), (b"origin", b"http://evil.example")]
    async with staged() as stage:
        with pytest.raises(testing.HandshakeDenied) as denied:
            async with stage.connect(path, headers=headers):
                pass
    assert denied.value.status == 403


async def test_every_name_of_its_own_will_do() -> None:
    host = b"localhost:8000"
    async with (
        staged() as stage,
        stage.connect("/watch", headers=[(b"host", host), (b"origin", b"http://" + host)]) as page,
    ):
        assert await until(page, "connections") == []


async def test_a_websocket_that_does_not_exist() -> None:
    async with staged() as stage:
        with pytest.raises(testing.HandshakeDenied):
            async with stage.connect("/nothing"):
                pass


async def test_the_picture_of_a_story() -> None:
    async with (
        staged() as stage,
        stage.connect("/test"),
        stage.connect("/watch", headers=HEADERS) as page,
    ):
        shown = await until(page, "connection")
        await page.send(f'{{"do":"reset","to":"{shown["id"]}"}}')
        story = await until_true(page, "story", lambda story: story["over"])
        for query, width in ((b"", 280), (b"300&7", 300)):
            status, headers, body = await stage.get(f"/story/{story['number']}.svg", query)
            assert status == 200
            assert headers["content-type"] == "image/svg+xml"
            assert headers["content-security-policy"] == PICTURE_POLICY
            assert f'viewBox="0 0 {width} '.encode() in body


def test_the_page_says_how_long_a_send_may_take() -> None:
    page = read_assets()["/"].decode()
    assert f"{SEND_TIMEOUT:g} seconds" in page
    assert f"send_timeout={SEND_TIMEOUT:g}" in page
