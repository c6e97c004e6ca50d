"""One connection, from its handshake to its end. It does not depend on ASGI or on a server."""
