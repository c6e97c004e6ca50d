"""One connection, from its handshake to its end. It knows no ASGI and no server."""
