"""Batched loading: many questions at once cost few queries, and a failed query fails only those who asked."""

import asyncio

import pytest

from posthouse.kit.clock import ManualClock
from posthouse.messaging.gather import QUERIES_BURST, QUERIES_PER_S, Gather, Gathers


class Source:
    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self.broken = False

    async def load(self, scope: str, keys: list[int]) -> dict[int, str]:
        self.asked.append((scope, sorted(keys)))
        await asyncio.sleep(0)
        if self.broken:
            raise OSError("no")
        return {key: f"{scope}{key}" for key in keys if key >= 0}


async def test_questions_asked_at_once_are_answered_by_one_query() -> None:
    source = Source()
    gather: Gather[int, str] = Gather(source.load, ManualClock())
    answers = await asyncio.gather(*(gather.get("a", [key, key + 1]) for key in range(10)))
    assert source.asked == [("a", list(range(11)))]
    assert answers[3] == {3: "a3", 4: "a4"}


async def test_what_does_not_exist_is_left_out() -> None:
    gather: Gather[int, str] = Gather(Source().load, ManualClock())
    assert await gather.get("a", [-1, 1]) == {1: "a1"}


async def test_a_query_takes_no_more_keys_than_it_may() -> None:
    source = Source()
    gather: Gather[int, str] = Gather(source.load, ManualClock(), keys_max=4)
    await asyncio.gather(*(gather.get("a", [key]) for key in range(10)))
    assert [len(keys) for _, keys in source.asked] == [4, 4, 2]


async def test_apps_are_never_mixed() -> None:
    source = Source()
    gather: Gather[int, str] = Gather(source.load, ManualClock())
    first, second = await asyncio.gather(gather.get("a", [1]), gather.get("b", [1]))
    assert (first, second) == ({1: "a1"}, {1: "b1"})


async def test_a_failed_query_fails_those_who_asked_and_the_next_one_works() -> None:
    source = Source()
    gather: Gather[int, str] = Gather(source.load, ManualClock())
    source.broken = True
    with pytest.raises(OSError, match="no"):
        await gather.get("a", [1])
    source.broken = False
    assert await gather.get("a", [1]) == {1: "a1"}


async def test_many_queries_in_a_row_are_paced_so_that_more_keys_share_one() -> None:
    source, clock = Source(), ManualClock()
    gather: Gather[int, str] = Gather(source.load, clock)
    for key in range(round(QUERIES_BURST)):
        await gather.get("a", [key])
    source.asked.clear()
    following = [asyncio.ensure_future(gather.get("a", [key])) for key in (1, 2)]
    await clock.advance(0.5 / QUERIES_PER_S)
    following.append(asyncio.ensure_future(gather.get("a", [3])))
    await clock.advance(0)
    assert source.asked == []
    await clock.advance(0.6 / QUERIES_PER_S)
    await asyncio.gather(*following)
    assert source.asked == [("a", [1, 2, 3])]


class Places(Source):
    """Keys lie in two places, the odd ones in one that hangs until told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def load(self, scope: str, keys: list[int]) -> dict[int, str]:
        if any(key % 2 for key in keys):
            await self.answers.wait()
        return await super().load(scope, keys)

    def gathers(self) -> Gathers[int, str]:
        return Gathers(self.load, ManualClock(), lambda app, key: "odd" if key % 2 else "even", keys_max=100)


async def test_a_place_that_hangs_keeps_no_question_to_another_one_waiting() -> None:
    places = Places()
    gathers = places.gathers()
    hanging = asyncio.ensure_future(gathers.get("a", [1]))
    await asyncio.sleep(0)
    assert await gathers.get("a", [2, 4]) == {2: "a2", 4: "a4"}
    places.answers.set()
    assert await hanging == {1: "a1"}
    assert gathers.loads == 2


async def test_whoever_has_no_patience_is_told_what_there_is_once_one_place_has_answered() -> None:
    places = Places()
    gathers = places.gathers()
    assert await gathers.get("a", [1, 2, 3], 0.0) == {1: None, 2: "a2", 3: None}
    asking = asyncio.ensure_future(gathers.get("a", [1, 2, 3]))
    places.answers.set()
    assert await asking == {1: "a1", 2: "a2", 3: "a3"}
    assert await gathers.get("a", []) == {}


async def test_a_place_that_fails_fails_the_whole_question() -> None:
    places = Places()
    places.broken = True
    places.answers.set()
    with pytest.raises(OSError, match="no"):
        await places.gathers().get("a", [1, 2])
