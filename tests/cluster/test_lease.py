"""A claim is relied on only while it is certain, by the holder's own clock."""

from posthouse.cluster.lease import HOLD_S, TTL_S, Claim
from posthouse.kit.clock import ManualClock
from tests.cluster.silent_cache import Silence, SilentLeases


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.leases = SilentLeases(self.clock)
        self.leases.silence = Silence()
        self.a = Claim(self.leases, "repair", lambda: "a#1", self.clock)
        self.b = Claim(self.leases, "repair", lambda: "b#1", self.clock)


async def test_one_has_it_and_the_other_knows_who() -> None:
    bench = Bench()
    assert await bench.a.renew()
    assert not await bench.b.renew()
    assert (bench.b.holder, bench.b.known) == ("a#1", True)


async def test_whoever_renews_keeps_it() -> None:
    bench = Bench()
    for _ in range(10):
        assert await bench.a.renew()
        assert not await bench.b.renew()
        await bench.clock.advance(TTL_S / 3)


async def test_a_silent_cache_ends_a_claim_before_another_can_have_it() -> None:
    """At two thirds of the time to live its holder must have stopped."""
    bench = Bench()
    await bench.a.renew()
    bench.leases.silence.down = True
    await bench.clock.advance(HOLD_S - 0.1)
    assert await bench.a.renew()
    await bench.clock.advance(0.1)
    assert not await bench.a.renew()
    assert not bench.a.known
    bench.leases.silence.down = False
    assert not await bench.b.renew()
    await bench.clock.advance(TTL_S - HOLD_S)
    assert await bench.b.renew()


async def test_a_holder_that_was_frozen_does_not_take_it_for_its_own() -> None:
    """It thaws, and its own clock says that the time is up, before it has asked anybody."""
    bench = Bench()
    await bench.a.renew()
    await bench.clock.advance(TTL_S + 1)
    assert not bench.a.held
    assert await bench.b.renew()
    assert not await bench.a.renew()


async def test_who_releases_late_takes_nothing_from_the_next() -> None:
    bench = Bench()
    await bench.a.renew()
    await bench.clock.advance(TTL_S + 1)
    await bench.b.renew()
    await bench.a.release()
    assert await bench.b.renew()
    assert not await bench.a.renew()


async def test_what_is_released_is_free_at_once_and_its_epoch_rises() -> None:
    bench = Bench()
    await bench.a.renew()
    epoch = bench.a.epoch
    await bench.a.release()
    assert not bench.a.held
    assert await bench.b.renew()
    assert bench.b.epoch > epoch
