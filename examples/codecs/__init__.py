"""JSON with libraries other than the standard library, and typed messages."""
