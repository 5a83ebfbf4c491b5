"""A histogram of latencies adds up and gives percentiles within its precision."""

import random

import pytest
from hypothesis import given, strategies as st

from posthouse.load.bench.latencies import PRECISION_BITS, Latencies, sum_of


def of(*seconds: float) -> Latencies:
    latencies = Latencies()
    for each in seconds:
        latencies.add(each)
    return latencies


@given(st.floats(0, 1000))
def test_one_latency_is_its_own_percentile_within_the_precision(seconds: float) -> None:
    ms = of(seconds).percentile_ms(0.5)
    assert ms <= seconds * 1000 * (1 + 1e-9)
    assert ms >= seconds * 1000 * (1 - 2**-PRECISION_BITS) - 0.001


def test_percentiles_of_a_thousand_latencies() -> None:
    numbers = [number / 1000 for number in range(1, 1001)]
    random.Random(0).shuffle(numbers)
    latencies = of(*numbers)
    assert latencies.percentile_ms(0.5) == pytest.approx(500, rel=0.02)
    assert latencies.percentile_ms(0.99) == pytest.approx(990, rel=0.02)
    assert latencies.percentile_ms(1.0) == pytest.approx(1000, rel=0.02)


def test_histograms_of_two_processes_add_up() -> None:
    both = sum_of([of(0.001, 0.001), of(0.002)])
    assert (both.percentile_ms(0.6), both.percentile_ms(1.0), both.counts.total()) == (1.0, 2.0, 3)


def test_nothing_counted_is_no_latency() -> None:
    assert Latencies().percentile_ms(0.99) == 0.0
