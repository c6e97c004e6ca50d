"""The same handler on other libraries and here: `*_before.py` and `*_after.py`."""
