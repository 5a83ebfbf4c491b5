"""Lame duck: nobody new, everybody told when and where to go, each after its turn and after its answers."""

import random

import pytest

from posthouse.gateway.drain import ANSWER_S, Drain, Place, Standing
from posthouse.kit.tasks import Tasks
from posthouse.protocol.codes import Code
from tests.gateway.hall import Guest, Hall, hall, settled

ELSEWHERE = "ws://other/v1/ws"


def drain_of(it: Hall, place: Place = Place(ELSEWHERE, "other is emptiest")) -> Drain:  # noqa: B008 - immutable
    return Drain(lambda: it.gateway.connections, lambda: place, it.clock, random.Random(1))


async def guests(it: Hall, count: int) -> list[Guest]:
    return await it.enter_all(f"u{number}" for number in range(count))


def gone(among: list[Guest]) -> int:
    return sum(guest.ended == Code.DRAINING for guest in among)


def close_all(among: list[Guest]) -> None:
    """What the network does after a close."""
    for guest in among:
        if guest.ended and guest.session in guest.session.host.connections:  # type: ignore[attr-defined]
            guest.session.closed(guest.ended)


async def test_sessions_depart_evenly_over_the_window_after_the_pause() -> None:
    """Together they would be a storm for the others; and nobody goes before draining nodes know of each other."""
    async with hall() as it:
        people, drain, tasks = await guests(it, 100), drain_of(it), Tasks(it.clock)
        tasks.spawn("drain", drain.run(within_s=11.0, gather_s=1.0, why="a test"))
        await settled()
        await it.clock.advance(0.99)
        assert gone(people) == 0
        for second in range(1, 11):
            await it.clock.advance(1)
            assert gone(people) == pytest.approx(10 * second, abs=2)
        await it.clock.advance(0.2)
        close_all(people)
        await it.clock.advance(0.2)
        assert (gone(people), drain.standing, drain.departed) == (100, Standing.DRAINED, 100)
        assert {guest.heard("goaway")[0]["endpoint"] for guest in people} == {ELSEWHERE}
        assert not any("reconnect_in_ms" in guest.heard("goaway")[0] for guest in people)
        await tasks.close()


async def test_what_is_in_flight_when_its_turn_comes_is_acked_before_the_close() -> None:
    async with hall() as it:
        (ann,), drain, tasks = await guests(it, 1), drain_of(it), Tasks(it.clock)
        it.database.hold("append")
        ann.send("c", "k")
        tasks.spawn("drain", drain.run(within_s=1.0, gather_s=0.0, why="a test"))
        await settled()
        await it.clock.advance(1.5)
        assert ann.heard("goaway")
        assert ann.ended == 0
        it.database.release("append")
        await settled()
        await it.clock.advance(0.1)
        assert [frame["client_id"] for frame in ann.heard("ack")] == ["k"]
        assert ann.ended == Code.DRAINING
        await tasks.close()


async def test_a_database_that_does_not_answer_holds_a_drain_up_only_so_long() -> None:
    async with hall() as it:
        (ann,), drain, tasks = await guests(it, 1), drain_of(it), Tasks(it.clock)
        it.database.hold("append")
        ann.send("c", "k")
        await settled()
        tasks.spawn("drain", drain.run(within_s=1.0, gather_s=0.0, why="a test"))
        await settled()
        await it.clock.advance(1.0 + ANSWER_S - 0.5)
        assert ann.ended == 0
        await it.clock.advance(1.0)
        assert (ann.ended, drain.standing) == (Code.DRAINING, Standing.DRAINED)
        it.database.release("append")
        await settled()
        await tasks.close()


async def test_an_undone_drain_sends_nobody_away_any_more() -> None:
    async with hall() as it:
        people, drain, tasks = await guests(it, 10), drain_of(it), Tasks(it.clock)
        tasks.spawn("drain", drain.run(within_s=10.0, gather_s=0.0, why="a test"))
        await settled()
        await it.clock.advance(5.0)
        left = gone(people)
        drain.undo()
        await it.clock.advance(20.0)
        assert 0 < left < 10
        assert (gone(people), drain.standing) == (left, Standing.SERVING)
        await tasks.close()


async def test_a_gateway_without_sessions_has_drained_at_once() -> None:
    async with hall() as it:
        drain = drain_of(it)
        await drain.run(within_s=60.0, gather_s=10.0, why="a test")
        assert drain.standing is Standing.DRAINED


async def test_who_has_nowhere_to_go_is_told_so() -> None:
    async with hall() as it:
        people, drain, tasks = await guests(it, 2), drain_of(it, Place("", "nobody")), Tasks(it.clock)
        tasks.spawn("drain", drain.run(within_s=0.0, gather_s=0.0, why="a test"))
        await settled()
        await it.clock.advance(0.1)
        assert gone(people) == 2
        assert not any("endpoint" in guest.heard("goaway")[0] for guest in people)
        await tasks.close()
