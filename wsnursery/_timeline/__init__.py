"""What happened to a connection, as plain data and as a picture: the parts of `wsnursery.timeline`.

`_entries` turns the events of hooks into plain data, `_recorder` keeps it, `_story` finds in it the
lanes and the moments that matter, `_layout` gives these their places and `_svg` writes the picture.
`_text` writes the lines for a terminal.
"""
