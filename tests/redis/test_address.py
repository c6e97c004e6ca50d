"""The address of Redis."""

import ssl
import tempfile
from pathlib import Path

import anyio
import anyio.streams.tls
import pytest
import trustme

from wsnursery.redis._address import parse_address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://user:secret@example.org:7000/3", "redis://example.org:7000/3"),
        ("rediss://:secret@[::1]", "rediss://[::1]:6379/0"),
        ("redis://localhost?db=5", "redis://localhost:6379/5"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock"),
        ("unix://:secret@/run/a%20b", "unix:///run/a b"),
    ],
)
def test_urls(url, shown):
    address = parse_address(url)
    assert str(address) == shown
    assert address.password == ("secret" if "secret" in url else None)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("localhost", "must be redis://"),
        ("http://:secret@localhost", "got 'http://localhost'"),
        ("redis://", "must be redis://"),
        ("unix://", "must be redis://"),
        ("redis://localhost:port", "cannot be read"),
        ("redis://localhost:99999", "cannot be read"),
        ("redis://[localhost", "cannot be read"),
        ("redis://localhost/one", "must be a number, got 'one'"),
        ("redis://localhost/1?timeout=3&db=1", "no parameter but db, got timeout"),
    ],
)
def test_wrong_urls(url, sentence):
    with pytest.raises(ValueError, match=r"the URL|the database") as caught:
        parse_address(url)
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_connecting():
    """In real time, over every kind of socket."""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def echo(stream):
        async with stream:
            await stream.send(await stream.receive())

    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "s")
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as tcp,
            await anyio.create_unix_listener(path) as unix,
            anyio.create_task_group() as group,
        ):
            port = tcp.extra(anyio.abc.SocketAttribute.local_port)
            group.start_soon(tcp.serve, echo)
            group.start_soon(unix.serve, echo)
            for url in (f"redis://127.0.0.1:{port}", f"unix://{path}"):
                async with await parse_address(url).connect(None) as stream:
                    await stream.send(b"a")
                    assert await stream.receive() == b"a"
            group.cancel_scope.cancel()
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as tcp,
            anyio.create_task_group() as group,
        ):
            port = tcp.extra(anyio.abc.SocketAttribute.local_port)
            tls = anyio.streams.tls.TLSListener(tcp, server_context, standard_compatible=False)
            group.start_soon(tls.serve, echo)
            address = parse_address(f"rediss://localhost:{port}")
            stream = await address.connect(trusting)
            await stream.send(b"a")
            assert await stream.receive() == b"a"
            await anyio.aclose_forcefully(stream)
            with pytest.raises(ConnectionError, match="certificate verify failed"):
                await address.connect(None)
            group.cancel_scope.cancel()
        refused = f"cannot connect to redis://127.0.0.1:{port}/0: .*[Cc]onnect"
        with pytest.raises(ConnectionError, match=refused):
            await parse_address(f"redis://127.0.0.1:{port}").connect(None)


async def test_a_broken_tls_handshake_is_an_os_error(monkeypatch):
    async def connect_tcp(*_, **__):
        raise anyio.BrokenResourceError

    monkeypatch.setattr(anyio, "connect_tcp", connect_tcp)
    with pytest.raises(ConnectionError, match="the TLS handshake with rediss://h:1/0 has failed"):
        await parse_address("rediss://h:1").connect(None)
