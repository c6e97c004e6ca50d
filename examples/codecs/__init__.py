"""JSON by other libraries than the standard one, and messages with types."""
