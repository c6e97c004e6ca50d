"""``python -m examples.demonstration``: a demonstration in the browser.

A chat, the live tree of the connections of its server, and buttons that break them. The page is
plain HTML, CSS and JavaScript in ``static``; the server is Hypercorn through `wsnursery.hypercorn`.

What breaks is real: `_seam` stands between the engine and the server's own ``send`` and does what a
bad network does, and everything after that is the engine's. `_handlers` has the handlers,
`_actions` what the buttons do, `_tree`, `_stories` and `_watch` what the page shows. Only public
names of the library are used.
"""
