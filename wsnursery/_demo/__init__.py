"""``python -m wsnursery``: a demonstration in the browser.

A chat, the live tree of the connections of its server, and buttons that break them. The page is
plain HTML, CSS and JavaScript in ``static``; the server is Hypercorn through `wsnursery.hypercorn`.

What breaks is real: `_seam` stands between the engine and the server's own ``receive`` and
``send`` and does what a bad network does, and everything after that is the engine's. `_participant`
has the handlers, `_actions` what the buttons do, `_tree` and `_watch` what the page shows.
"""
