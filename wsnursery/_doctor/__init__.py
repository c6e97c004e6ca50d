"""``python -m wsnursery doctor``: examine what a server does when a WebSocket ends.

A probe is a script that runs as an ASGI application inside the user's own server: `_raw` has the
scripts for bare ``receive`` and ``send``, `_ours` those on `open_websocket`. The script controls
the client at the other end over a separate channel (`_bench`, `_robot`), because most questions are
about an order of events: reset now, then send. `_examination` has the order of the probes,
`_questions` and `_answers` turn their results into text, and `_lab` runs the server.
"""
