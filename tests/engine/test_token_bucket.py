"""The token bucket: a rate in the long run, and a burst at once."""

from hypothesis import given
from hypothesis import strategies as st

from wsnursery._engine.token_bucket import TokenBucket


def taken(bucket: TokenBucket, now: float, tries: int) -> int:
    return sum(bucket.take(now) for _ in range(tries))


def test_it_begins_full() -> None:
    assert taken(TokenBucket(1, 5, 0), 0, 100) == 5


def test_tokens_come_back_at_the_rate() -> None:
    bucket = TokenBucket(2, 5, 100)
    assert taken(bucket, 100, 10) == 5
    assert taken(bucket, 100.4, 10) == 0
    assert taken(bucket, 100.5, 10) == 1
    assert taken(bucket, 102, 10) == 3


def test_a_long_silence_gives_no_more_than_the_burst() -> None:
    bucket = TokenBucket(10, 5, 0)
    assert taken(bucket, 1000, 100) == 5


def test_a_rate_below_one_per_second() -> None:
    bucket = TokenBucket(0.1, 1, 0)
    assert [bucket.take(second) for second in range(0, 21, 5)] == [True, False, True, False, True]


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 100),
    pauses=st.lists(st.floats(0, 10), max_size=50),
)
def test_never_more_than_the_burst_and_what_the_rate_gives(
    rate: float, burst: int, pauses: list[float]
) -> None:
    bucket, now, count = TokenBucket(rate, burst, 0), 0.0, 0
    for pause in pauses:
        now += pause
        count += taken(bucket, now, 3)
    assert count <= burst + now * rate + 1e-6
