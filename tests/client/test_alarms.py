"""Alarms ring at their time, on a clock that tests turn."""

from posthouse.client.alarms import Alarms
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks


async def test_alarms_ring_in_order_also_when_an_earlier_one_is_set_later() -> None:
    clock = ManualClock()
    tasks = Tasks(clock)
    alarms, rung = Alarms(clock, tasks), list[tuple[float, float]]()

    def ring(at: float) -> None:
        rung.append((at, clock.monotonic()))
        if at == 2.0:
            alarms.set(3.0, ring)

    for at in (5.0, 1.0, 2.0, 5.0):
        alarms.set(at, ring)
    await clock.advance(0.5)
    assert rung == []
    await clock.advance(9.5)
    assert rung == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (5.0, 5.0), (5.0, 5.0)]
    alarms.set(11.0, ring)
    await clock.advance(1.0)
    assert rung[-1] == (11.0, 11.0)
    await tasks.close()
