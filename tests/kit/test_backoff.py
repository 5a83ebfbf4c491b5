"""Exponential backoff with full jitter."""

from hypothesis import given, strategies as st

from posthouse.kit.backoff import Backoff


def test_the_bound_doubles_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.5, factor=2.0, longest_s=5.0)
    assert [backoff.delay_s(attempt, 1.0) for attempt in range(1, 7)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_every_delay_lies_between_nothing_and_its_bound(attempt: int, uniform: float) -> None:
    backoff = Backoff()
    assert 0.0 <= backoff.delay_s(attempt, uniform) <= backoff.longest_s
    assert backoff.delay_s(attempt, 0.0) == 0.0
