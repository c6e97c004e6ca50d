"""``python -m wsnursery doctor``: what a server does at a WebSocket's end, and what we make of it.

A probe is a script that runs as an ASGI application inside the user's own server (`_raw` against
bare ``receive`` and ``send``, `_ours` on `open_websocket`). It directs the client at the other end
over a channel of its own (`_bench`, `_robot`), because most questions are about an order of events:
reset now, then send. `_probes` has the questions and reads the answers, `_lab` runs the server.
"""
