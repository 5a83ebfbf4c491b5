"""A series that grows is told from one that only wavers, however it wavers."""

import random

import pytest
from hypothesis import given, strategies as st

from posthouse.load.soak.trend import slope, trend

HOUR = [(float(at), 0.0) for at in range(0, 3600, 10)]


def waving(per_s: float, wave: float, seed: int = 1) -> list[tuple[float, float]]:
    """An hour's samples around a line."""
    chance = random.Random(seed)
    return [(at, 50_000 + per_s * at + chance.uniform(-wave, wave)) for at, _ in HOUR]


@given(st.floats(-100, 100), st.floats(-1000, 1000))
def test_a_straight_line_has_its_own_slope(per_s: float, begin: float) -> None:
    assert slope([(at, begin + per_s * at) for at, _ in HOUR[:30]]) == pytest.approx(per_s, abs=1e-6)


@given(st.integers(0, 50))
def test_what_only_wavers_is_flat(seed: int) -> None:
    assert trend(waving(0.0, 3_000, seed), 2_048, 0.02).flat


@given(st.integers(0, 50))
def test_two_mebibytes_in_half_an_hour_are_found_in_waves_as_high(seed: int) -> None:
    found = trend(waving(2_500 / 1_800, 2_000, seed), 1_024, 0.0)
    assert not found.flat
    assert found.growth == pytest.approx(2_500, rel=0.4)


def test_single_peaks_make_no_slope() -> None:
    samples = [(at, 10_000.0 if at in (2_000, 3_500, 3_590) else 100.0) for at, _ in HOUR]
    found = trend(samples, 10, 0.0)
    assert found.flat
    assert found.peak == 10_000


def test_what_fills_up_to_its_limit_in_the_first_half_is_flat() -> None:
    assert trend([(at, min(at, 1_700.0)) for at, _ in HOUR], 10, 0.0).flat
    assert not trend([(at, at) for at, _ in HOUR], 10, 0.0).flat


def test_what_shrinks_is_flat() -> None:
    assert trend(waving(-5.0, 10.0), 10, 0.0).flat


@pytest.mark.parametrize("samples", [[], [(0.0, 5.0)], [(3.0, 5.0), (3.0, 9.0)]])
def test_too_few_samples_have_no_slope(samples: list[tuple[float, float]]) -> None:
    assert trend(samples, 0.0, 0.0).growth == 0.0
