"""What every keeper of leases must do: give each to one at a time, with an epoch that only rises.

A subclass defines the fixture `leases`, empty for each test, and its time passes by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from posthouse.cache.base import Lease, Leases
from posthouse.kit.clock import SystemClock

LONG_S = 60.0
SHORT_S = 0.03
PATIENCE_S = 10
_PAUSE_S = 0.005
_CLOCK: Final = SystemClock()


class LeasesContract:
    """Run on every engine of `posthouse.cache.base.Leases`."""

    async def test_a_free_lease_goes_to_who_asks_first_and_others_are_told_who_has_it(
        self, leases: Leases
    ) -> None:
        taken = await leases.take("repair", "one", LONG_S)
        assert (taken.name, taken.holder) == ("repair", "one")
        assert await leases.take("repair", "two", LONG_S) == taken

    async def test_renewing_keeps_the_epoch(self, leases: Leases) -> None:
        taken = await leases.take("repair", "one", LONG_S)
        assert await leases.take("repair", "one", LONG_S) == taken

    async def test_an_epoch_is_no_lower_than_the_time_in_milliseconds_so_that_it_rises_across_a_wipe(
        self, leases: Leases
    ) -> None:
        minute_ago = _CLOCK.now_ms() - 60_000
        assert (await leases.take("repair", "one", LONG_S)).epoch > minute_ago

    async def test_a_lease_given_back_is_free_at_once_under_a_higher_epoch(self, leases: Leases) -> None:
        first = await leases.take("repair", "one", LONG_S)
        assert await leases.release(first)
        second = await leases.take("repair", "two", LONG_S)
        assert second.holder == "two"
        assert second.epoch > first.epoch
        assert await leases.release(second)
        assert (await leases.take("repair", "two", LONG_S)).epoch > second.epoch

    async def test_only_exactly_the_lease_that_is_held_is_given_back(self, leases: Leases) -> None:
        held = await leases.take("repair", "one", LONG_S)
        for other in (
            held._replace(holder="two"), held._replace(epoch=held.epoch - 1), held._replace(name="roster")
        ):  # fmt: skip
            assert not await leases.release(other)
        assert await leases.take("repair", "two", LONG_S) == held
        assert await leases.release(held)
        assert not await leases.release(held)

    async def test_a_lease_that_is_not_renewed_goes_to_the_next_who_asks_under_a_higher_epoch(
        self, leases: Leases
    ) -> None:
        first = await leases.take("repair", "one", SHORT_S)
        second = await taken_by("two", leases)
        assert second.epoch > first.epoch
        assert not await leases.release(first)
        assert await leases.take("repair", "one", LONG_S) == second

    async def test_a_lease_that_is_renewed_in_time_is_never_lost(self, leases: Leases) -> None:
        held = await leases.take("repair", "one", LONG_S)
        for _ in range(5):
            assert await leases.take("repair", "one", LONG_S) == held
            await _CLOCK.sleep(_PAUSE_S)
            assert await leases.take("repair", "two", SHORT_S) == held

    async def test_of_many_who_ask_at_once_one_gets_it_and_all_hear_of_that_one(self, leases: Leases) -> None:
        answers = await asyncio.gather(
            *(leases.take("repair", f"node-{number}", LONG_S) for number in range(50))
        )
        assert len(set(answers)) == 1

    async def test_leases_of_other_names_are_apart_whatever_is_in_a_name(self, leases: Leases) -> None:
        names = ["repair", "repair:a", "{repair}", "repair a", "王小明", ""]
        for number, name in enumerate(names):
            assert (await leases.take(name, f"holder {number} ✓", LONG_S)).holder == f"holder {number} ✓"


async def taken_by(holder: str, leases: Leases) -> Lease:
    """The lease, once it is this holder's."""
    lease = Lease("", "", 0)

    async def taken() -> bool:
        nonlocal lease
        lease = await leases.take("repair", holder, LONG_S)
        return lease.holder == holder

    await until(taken)
    return lease


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what time brings about."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await _CLOCK.sleep(_PAUSE_S)
