"""Several nodes are one service: whoever is connected where, all see the same, whatever happens to a node or the cache.

Real processes, a real PostgreSQL and a real Valkey.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.client import CursorsMoved
from posthouse.testing.postgres import LocalPostgres, fresh_database, shared_postgres
from tests.cluster.town import SQUARE, town

TOLD_S = 3.0
SLOW_PATH_S = 2.0
"""Messages arrive within so long while the cache is away."""


@pytest.fixture(scope="module")
def postgres() -> LocalPostgres:
    return shared_postgres()


@pytest.fixture
def database(postgres: LocalPostgres) -> Iterator[str]:
    with fresh_database(postgres) as dsn:
        yield dsn


async def test_people_on_different_nodes_talk_to_each_other(database: str, tmp_path: Path) -> None:
    async with town(database, tmp_path, 2) as here:
        ann, _ = await here.person("ann", 0), await here.person("ben", 1)
        await here.gather("ann", "ben")
        await here.calm()
        outages, asked = await here.metric(1, "outages_total"), await here.metric(1, "poll_rounds_total")
        ann.say("ann begins")
        await here.heard("ann begins")
        await here.talk(1, 50)
        verdict = await here.judged()
        assert verdict.holds, verdict
        assert await here.metric(0, "bus_messages_total") > 0
        told = await here.metric(1, "poll_rounds_total") == asked
        assert told or await here.metric(1, "outages_total") > outages, (
            "asked the feed although hints were trusted"
        )
        assert await here.metric(0, 'servers{of="cache",what="servers_up"}') == 1


async def test_cursors_are_shown_across_nodes(database: str, tmp_path: Path) -> None:
    async with town(database, tmp_path, 2) as here:
        await here.gather("ann", "ben")
        ann, ben = await here.person("ann", 0), await here.person("ben", 1)
        await here.calm()
        read: list[tuple[str, int]] = []
        ann.client.on(CursorsMoved)(
            lambda event: read.extend((each.user, each.read) for each in event.cursors)
        )
        sent = await ann.say("ann asks").acked
        await here.heard("ann asks")
        ben.client.mark_read(SQUARE, sent.seq)
        await here.until(lambda: ("ben", sent.seq) in read)


async def test_a_node_killed_in_mid_sentence_costs_a_pause_and_no_message(
    database: str, tmp_path: Path
) -> None:
    """Its people go to another node, say again what was not answered, and have missed nothing (G5)."""
    async with town(database, tmp_path, 3) as here:
        await here.gather("ann", "ben", "cyd")
        await here.calm()
        for node, user in enumerate(("ann", "ben", "cyd")):
            await here.person(user, node, roams=True)
        await here.talk(4, 60, meanwhile={1: here.nodes[1].kill})
        here.people[0].say("ann sums up")
        await here.heard("ann sums up")
        verdict = await here.judged()
        assert verdict.holds, verdict
        assert verdict.unanswered == 0


async def test_a_frozen_node_does_no_harm_when_it_thaws(database: str, tmp_path: Path) -> None:
    """It was taken for gone, and told nothing; when it goes on, its people are given what they missed."""
    async with town(database, tmp_path, 2) as here:
        await here.gather("ann", "ben")
        ann, ben = await here.person("ann", 0), await here.person("ben", 1, heartbeat_s=30)
        await here.calm()
        here.nodes[1].freeze()
        await here.talk(5, 20, [ann])
        assert await here.metric(0, "nodes_live") == 1
        ann.say("ann has done")
        await here.clock.sleep(TOLD_S)  # whoever repairs has told this to everybody who is there
        here.nodes[1].thaw()
        assert await here.heard("ann has done") < 5
        assert ben.client.statistics().connection_attempts == 1
        await here.talk(1, 20)
        verdict = await here.judged()
        assert verdict.holds, verdict


@pytest.mark.serial
async def test_a_wiped_cache_loses_nobody_and_nothing(database: str, tmp_path: Path) -> None:
    """Routes, leases and the register of nodes are gone at once, several times, while everybody talks."""
    async with town(database, tmp_path, 3) as here:
        await here.gather("ann", "ben", "cyd")
        for node, user in enumerate(("ann", "ben", "cyd")):
            await here.person(user, node)
        await here.calm()
        await here.talk(4, 60, meanwhile=dict.fromkeys((0.9, 1.8, 2.7), here.cache.wipe))
        here.people[0].say("ann sums up")
        assert await here.heard("ann sums up") < SLOW_PATH_S
        verdict = await here.judged()
        assert verdict.holds, verdict


@pytest.mark.serial
async def test_while_the_cache_is_down_messages_arrive_by_the_slower_path(
    database: str, tmp_path: Path
) -> None:
    """Also to people who come meanwhile. When it is back, empty, all is as before."""
    async with town(database, tmp_path, 2) as here:
        await here.gather("ann", "ben", "cyd")
        ann, ben = await here.person("ann", 0), await here.person("ben", 1)
        await here.calm()
        await asyncio.to_thread(here.cache.kill)
        ann.say("ann notices nothing")
        assert await here.heard("ann notices nothing") < SLOW_PATH_S
        await here.person("cyd", 1)
        for number in range(3):
            ben.say(f"ben goes on {number}")
            assert await here.heard(f"ben goes on {number}") < SLOW_PATH_S
        await here.talk(1, 40)
        await asyncio.to_thread(here.cache.start)
        await here.talk(2, 40)
        await here.calm()
        ann.say("ann is glad")
        assert await here.heard("ann is glad") < 1
        verdict = await here.judged()
        assert verdict.holds, verdict


async def test_the_older_session_of_a_device_ends_wherever_it_is(database: str, tmp_path: Path) -> None:
    async with town(database, tmp_path, 2) as here:
        await here.gather("ann", "ben")
        before = await here.person("ann", 0)
        await here.calm()
        here.people.remove(before)
        await here.person("ann", 1)
        await here.until(lambda: before.client.statistics().state == "closed")
        await before.client.close()


async def test_who_is_blocked_is_blocked_on_every_node(database: str, tmp_path: Path) -> None:
    async with town(database, tmp_path, 2) as here:
        await here.gather("ann", "ben")
        ben = await here.person("ben", 1)
        await here.calm()
        await here.block("ben")
        await here.until(lambda: ben.client.statistics().state == "closed")
