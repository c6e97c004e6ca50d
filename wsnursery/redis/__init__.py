"""Redis (or Valkey) as the engine of shared rooms. Needs ``wsnursery[redis]``.

Redis numbers the messages, keeps the newest of them, and pushes them to the workers.
"""

from ._engine import RedisEngine as RedisEngine

__all__ = ["RedisEngine"]

# Show the public path in reprs, tracebacks and pickles, not the private module.
RedisEngine.__module__ = __name__
