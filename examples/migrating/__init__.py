"""The same handler before and after a migration: `*_before.py` and `*_after.py`."""
