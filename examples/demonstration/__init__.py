"""``python -m examples.demonstration``: a demonstration in the browser.

It shows a chat, the live tree of the server's connections, and buttons that break them. The page is
plain HTML, CSS and JavaScript in ``static``. The server is Hypercorn through `wsnursery.hypercorn`.

The faults are real: `_seam` stands between the engine and the server's own ``send`` and behaves
like a bad network. The engine does everything that follows. `_handlers` has the handlers,
`_actions` the actions of the buttons, and `_tree`, `_stories` and `_watch` what the page shows.
The demonstration uses only public names of the library.
"""
