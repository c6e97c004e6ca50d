"""The network connection below an ASGI `send`: found, and dropped."""

from functools import partial
from typing import Any

import pytest

from tests.asgi._sockets import ASYNCIO, HTTP_1, HTTP_2, TRIO, Socket, send_over, tcp_server
from wsnursery.asgi._socket import ServerConnection, disable_send_eof, drop, server_connection_of


@pytest.mark.parametrize("module", [TRIO, ASYNCIO])
@pytest.mark.parametrize(("protocol", "shared"), [(HTTP_1, False), (HTTP_2, True)])
def test_it_is_found_below_send(module: str, protocol: str, shared: bool) -> None:
    sock = Socket()
    server = tcp_server(module, sock)
    assert server_connection_of(send_over(server, protocol)) == ServerConnection(
        server, sock, shared
    )


async def send(event: Any) -> None:
    """The `send` of a server that is not known."""


class Middleware:
    """Hides the server's `send`."""

    async def send(self, event: Any) -> None:
        pass


@pytest.mark.parametrize(
    "unknown", [send, partial(send), Middleware().send], ids=["function", "partial", "method"]
)
def test_nothing_is_found_below_what_is_not_known(unknown: Any) -> None:
    assert server_connection_of(unknown) is None


def test_it_looks_no_deeper_than_it_has_to() -> None:
    server = tcp_server(TRIO, Socket())
    assert server_connection_of(send_over(tcp_server_below(server))) is None


def tcp_server_below(server: Any) -> Any:
    """One layer more than Hypercorn has."""
    return send_over(server).__self__


def dropped(server: Any) -> None:
    connection = server_connection_of(send_over(server))
    assert connection is not None
    drop(connection.server, connection.socket)


@pytest.mark.parametrize("tls", [False, True])
def test_it_is_reset_on_trio(tls: bool) -> None:
    sock = Socket()
    dropped(tcp_server(TRIO, sock, tls=tls))
    assert sock.done == ["reset when closed", "closed"]


def test_it_is_reset_on_asyncio() -> None:
    sock = Socket()
    dropped(tcp_server(ASYNCIO, sock))
    assert sock.done == ["reset when closed", "shut down", "closed"]


@pytest.mark.parametrize("module", [TRIO, ASYNCIO])
def test_one_that_is_closed_is_closed_again(module: str) -> None:
    sock = Socket()
    sock.refuses = True
    dropped(tcp_server(module, sock))
    assert sock.done == ["closed"]


def test_tls_that_is_closed_has_no_socket_on_asyncio() -> None:
    server = tcp_server(ASYNCIO, Socket())

    def get_extra_info(name: str) -> None:
        raise AttributeError("'NoneType' object has no attribute '_get_extra_info'")

    server.writer.get_extra_info = get_extra_info
    assert server_connection_of(send_over(server)) is None


def made_harmless(server: Any) -> None:
    connection = server_connection_of(send_over(server))
    assert connection is not None
    disable_send_eof(connection)


async def test_it_is_closed_without_eof_on_trio() -> None:
    sock = Socket()
    server = tcp_server(TRIO, sock)
    made_harmless(server)
    with pytest.raises(AttributeError):  # Hypercorn catches this exception
        await server.stream.send_eof()
    assert sock.done == []


@pytest.mark.parametrize(("module", "tls"), [(TRIO, True), (ASYNCIO, False)])
def test_where_there_is_no_eof_nothing_is_changed(module: str, tls: bool) -> None:
    sock = Socket()
    server = tcp_server(module, sock, tls=tls)
    made_harmless(server)
    assert not hasattr(getattr(server, "stream", None), "send_eof")
    assert sock.done == []
