"""What the kit raises."""

from wsnursery import testing


def test_a_denial():
    plain = testing.HandshakeDenied(403)
    assert str(plain) == "the application denied the handshake with HTTP status 403"
    assert plain.headers == []
    full = testing.HandshakeDenied(401, [(b"a", b"b")], b"no")
    assert (full.status, full.headers, full.body) == (401, [(b"a", b"b")], b"no")


def test_an_end():
    assert str(testing.ConnectionEnded(1006)) == "the connection has ended with code 1006"
    assert str(testing.ConnectionEnded(4000, "enough")).endswith("code 4000 'enough'")
