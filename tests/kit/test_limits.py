"""The token bucket: bursts pass, then the rate, and the wait it names is exact."""

from hypothesis import given, strategies as st

from posthouse.kit.limits import TokenBucket


def test_it_starts_full_and_refills_at_its_rate_up_to_the_burst() -> None:
    bucket = TokenBucket(rate_per_s=2.0, burst=3.0, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(11.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_refused_take_costs_nothing() -> None:
    bucket = TokenBucket(rate_per_s=1.0, burst=1.0, now=0.0)
    assert not bucket.take(0.0, cost=2.0)
    assert bucket.take(0.0)


def test_it_is_full_again_when_nothing_is_owed() -> None:
    bucket = TokenBucket(rate_per_s=1.0, burst=2.0, now=0.0)
    assert bucket.full(0.0)
    bucket.take(0.0)
    assert not bucket.full(0.5)
    assert bucket.full(1.0)


def test_time_that_seems_to_go_back_gives_nothing_and_takes_nothing() -> None:
    bucket = TokenBucket(rate_per_s=1.0, burst=2.0, now=10.0)
    assert bucket.take(10.0)
    assert bucket.take(5.0)
    assert not bucket.take(5.0)


@given(
    st.floats(0.1, 1_000),
    st.floats(1, 100),
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_no_more_pass_than_the_burst_and_the_rate_allow(rate: float, burst: float, gaps: list[float]) -> None:
    bucket, now, passed = TokenBucket(rate, burst, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        passed += bucket.take(now)
    assert passed <= burst + rate * now + 1e-6


@given(st.floats(0.1, 1_000), st.floats(1, 20), st.integers(0, 40))
def test_after_the_wait_that_is_named_it_passes(rate: float, burst: float, taken: int) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    for _ in range(taken):
        bucket.take(0.0)
    wait_s = bucket.wait_s(0.0)
    assert (wait_s == 0.0) or not bucket.take(wait_s * 0.99 - 1e-9)
    assert bucket.take(wait_s * (1 + 1e-9) + 1e-9)
