"""Whether hints can be trusted: only when all sources are well, and have been for a while."""

from posthouse.kit.clock import ManualClock
from posthouse.messaging.hearing import SETTLE_S, Hearing


async def test_a_gateway_begins_in_doubt() -> None:
    """Until others can know of it, nobody tells it anything."""
    clock = ManualClock()
    hearing = Hearing(["bus", "routes"], clock.monotonic)
    hearing.trust("bus")
    await clock.advance(SETTLE_S)
    assert not hearing.trusted
    assert "routes" in hearing.why
    hearing.trust("routes")
    assert not hearing.trusted
    await clock.advance(SETTLE_S)
    assert hearing.trusted


async def test_any_doubt_ends_the_trust_and_is_heard() -> None:
    clock = ManualClock()
    heard: list[str] = []
    hearing = Hearing(["bus"], clock.monotonic)
    hearing.on_doubt = lambda: heard.append(hearing.why)
    hearing.trust("bus")
    await clock.advance(SETTLE_S)
    hearing.doubt("bus", "it is broken")
    assert not hearing.trusted
    assert heard == ["bus: it is broken"]
    hearing.trust("bus")
    assert not hearing.trusted
    await clock.advance(SETTLE_S)
    assert hearing.trusted


async def test_whoever_would_mend_a_doubt_does_not_wait_for_its_end() -> None:
    clock = ManualClock()
    hearing = Hearing(["bus"], clock.monotonic)
    hearing.trust("bus")
    assert not hearing.trusted_but_for("repair")
    await clock.advance(SETTLE_S)
    hearing.doubt("repair", "nobody can say")
    assert hearing.trusted_but_for("repair")
    assert not hearing.trusted
    hearing.doubt("repair:other", "nobody can say")
    assert hearing.trusted_but_for("repair"), "or two that are mended the same way would wait for each other"
    hearing.doubt("bus", "broken")
    assert not hearing.trusted_but_for("repair")


async def test_an_outage_is_told_once_and_so_is_its_end() -> None:
    clock = ManualClock()
    told: list[str] = []
    hearing = Hearing(["bus", "routes"], clock.monotonic)
    for source in ("bus", "routes"):
        hearing.trust(source)
    hearing.on_change = told.append
    for _ in range(3):
        hearing.doubt("bus", "broken")
        hearing.doubt("routes", "silent")
    hearing.trust("bus")
    hearing.trust("routes")
    assert told == [
        "hints cannot be trusted, the databases are asked instead: bus: broken",
        "hints reach this gateway again, and will be trusted in a moment",
    ]
    assert hearing.outages == 1


async def test_what_was_missed_while_all_seemed_well_is_looked_for() -> None:
    """A process that was frozen: nothing is broken now, and much may be lacking."""
    clock = ManualClock()
    hearing = Hearing(["bus"], clock.monotonic)
    hearing.trust("bus")
    await clock.advance(SETTLE_S)
    hearing.missed()
    assert not hearing.trusted
    await clock.advance(SETTLE_S)
    assert hearing.trusted
