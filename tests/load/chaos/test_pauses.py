"""What counts as a client's pause."""

import pytest

from posthouse.load.chaos.pauses import pause_s, percentile, wait_s


@pytest.mark.parametrize(
    ("deliveries", "pause"),
    [
        ([1.0, 9.9, 10.2, 12.2, 12.4, 14.9], 2.5),
        ([9.9], 5.0),
        ([], 5.0),
        ([9.9, 14.0, 14.5, 15.0, 30.0], 4.0),
        ([10.0, 11.0, 12.0, 13.0, 14.0, 15.0], 1.0),
    ],
)
def test_it_is_the_longest_time_without_a_delivery_from_the_fault_to_the_end(
    deliveries: list[float], pause: float
) -> None:
    assert pause_s(deliveries, since=10.0, until=15.0) == pytest.approx(pause)


def test_a_percentile_is_a_value_that_was_there_and_never_below_its_share() -> None:
    values = [float(value) for value in range(1, 301)]
    assert percentile(values, 0.99) == 297.0
    assert percentile(values, 0.5) == 150.0
    assert percentile(values, 1.0) == 300.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.99) == 0.0


@pytest.mark.parametrize(
    ("sends", "wait"),
    [
        ([(10.0, 10.5), (11.0, 13.0)], 2.0),
        ([(8.0, 10.5)], 0.5),
        ([(14.0, 99.0)], 1.0),
        ([(5.0, 9.0), (15.5, 16.0)], 0.0),
        ([], 0.0),
    ],
)
def test_a_wait_is_that_of_the_slowest_send_as_far_as_it_lies_within(
    sends: list[tuple[float, float]], wait: float
) -> None:
    assert wait_s(sends, since=10.0, until=15.0) == pytest.approx(wait)
