"""Vital signs: shares of the node's own limits, from two readings."""

import pytest

from posthouse.health.vitals import Allowance, Reading, quantile, vitals

BEFORE = Reading(
    at=10.0, cpu_s=5.0, loop_cpu_s=4.0, throttled_s=0.0, resident_bytes=100, received_bytes=1_000,
    sent_bytes=2_000, descriptors=50, tasks=7,
)  # fmt: skip
ALLOWED = Allowance(
    cores=4.0, memory_bytes=1_000, held_share=0.0, descriptors=200, network_bytes_per_s=1_000.0
)


@pytest.mark.parametrize(
    ("cpu_s", "loop_cpu_s", "cores", "share"),
    [
        (1.0, 0.2, 4.0, 0.25),  # other threads on other cores
        (1.0, 0.9, 4.0, 0.9),  # an event loop has one core, however many there are
        (0.5, 0.5, 0.5, 1.0),  # half a core is all that the container may use
        (0.0, 0.0, 4.0, 0.0),
    ],
)
def test_cpu_is_the_scarcer_of_all_cores_and_the_loops_own(
    cpu_s: float, loop_cpu_s: float, cores: float, share: float
) -> None:
    after = BEFORE._replace(at=11.0, cpu_s=5.0 + cpu_s, loop_cpu_s=4.0 + loop_cpu_s)
    assert vitals(BEFORE, after, ALLOWED._replace(cores=cores), []).cpu == pytest.approx(share)


def test_rates_are_by_the_second_however_long_it_took() -> None:
    after = BEFORE._replace(at=12.0, received_bytes=2_000, sent_bytes=2_500)
    found = vitals(BEFORE, after, ALLOWED, [])
    assert (found.received_bytes_per_s, found.sent_bytes_per_s) == (500.0, 250.0)
    assert found.network == 0.5


def test_memory_is_what_the_process_holds_or_what_its_neighbours_leave() -> None:
    assert vitals(BEFORE, BEFORE, ALLOWED, []).memory == 0.1
    assert vitals(BEFORE, BEFORE, ALLOWED._replace(held_share=0.7), []).memory == 0.7


def test_descriptors_and_throttling_are_shares() -> None:
    found = vitals(BEFORE, BEFORE._replace(at=11.0, throttled_s=0.3), ALLOWED, [])
    assert found.descriptors_share == 0.25
    assert found.throttled == pytest.approx(0.3)


def test_a_bandwidth_that_is_not_known_is_no_load() -> None:
    after = BEFORE._replace(at=11.0, sent_bytes=10**9)
    assert vitals(BEFORE, after, ALLOWED._replace(network_bytes_per_s=0.0), []).network == 0.0


def test_lag_is_the_worst_and_what_one_in_a_hundred_exceeds() -> None:
    found = vitals(BEFORE, BEFORE, ALLOWED, [*range(200)])
    assert (found.loop_lag_ms, found.loop_lag_max_ms) == (197, 199)
    assert quantile([], 0.99) == 0.0
