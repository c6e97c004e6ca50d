"""Runnable examples: ``python -m examples.echo``, ``hypercorn -k trio examples.echo:app``."""
