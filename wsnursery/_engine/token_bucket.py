"""A token bucket, which limits how many messages a peer may send. The caller has the clock."""

from __future__ import annotations

from collections.abc import Callable

from wsnursery._options import Options


class TokenBucket:
    """Limits the rate in the long run, and allows a burst.

    It starts full. Each message takes a token. Tokens are added at the rate, up to the burst.

    Args:
        rate: Tokens that are added per second.
        burst: The capacity, in tokens.
        now: The time, in seconds.
    """

    __slots__ = ("_burst", "_rate", "_time", "_tokens")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = self._burst
        self._time = now

    def take(self, now: float) -> bool:
        """Take a token. Return whether there was one.

        Args:
            now: The time in seconds, which never decreases.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._time) * self._rate)
        self._time = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def bucket_of(options: Options, now: Callable[[], float]) -> TokenBucket | None:
    """The limit for the messages of a peer, or `None` if there is none."""
    rate = options.max_messages_per_second
    return None if rate is None else TokenBucket(rate, options.message_burst, now())
