"""Under which names the server answers."""

from typing import Any

import pytest

from examples.demonstration._hosts import hosts, is_for, origins


@pytest.mark.parametrize(
    ("wanted", "address", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", {"127.0.0.1", "localhost", "[::1]"}),
        ("localhost", "127.0.0.1", {"127.0.0.1", "localhost", "[::1]"}),
        ("[::1]", "::1", {"127.0.0.1", "localhost", "[::1]"}),
        ("0.0.0.0", "0.0.0.0", {"0.0.0.0", "127.0.0.1", "localhost", "[::1]"}),
        ("192.0.2.7", "192.0.2.7", {"192.0.2.7"}),
        ("[2001:db8::1]", "2001:db8::1", {"[2001:db8::1]"}),
        ("Box.example", "192.0.2.7", {"192.0.2.7", "box.example"}),
    ],
)
def test_names(wanted: str, address: str, expected: set[str]) -> None:
    found = hosts(wanted, (address, 8000))
    assert set(found) == {f"{name}:8000" for name in expected}
    assert found[0] == f"{wanted.lower()}:8000"  # the address that is printed


def test_the_port_of_http_goes_without_saying() -> None:
    assert hosts("192.0.2.7", ("192.0.2.7", 80)) == ("192.0.2.7", "192.0.2.7:80")


def test_origins() -> None:
    assert origins(("a:1", "b:1")) == ["http://a:1", "http://b:1"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"host", b"localhost:8000")], True),
        ([(b"accept", b"*/*"), (b"host", b"LOCALHOST:8000")], True),
        ([(b"host", b"localhost")], False),
        ([(b"host", b"evil.example:8000")], False),
        ([(b"host", b"localhost:8000"), (b"host", b"localhost:8000")], False),
        ([], False),
    ],
)
def test_requests(headers: list[Any], expected: bool) -> None:
    assert is_for({"headers": headers}, ("localhost:8000",)) is expected
