"""Taking nodes out and putting them in while people talk: no send fails, nobody waits long, sessions even out.

Real processes, a real PostgreSQL and a real Valkey; people use the SDK and may roam.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posthouse.api.cluster import Drain, Rebalance, Rebalanced
from posthouse.api.operating import Drained, Nodes
from posthouse.auth.operators import operator_key
from posthouse.cli.operator import Operator
from posthouse.client import Connected, Disconnected
from posthouse.protocol.codes import Code
from posthouse.testing.postgres import LocalPostgres, fresh_database, shared_postgres
from tests.cluster.town import PATIENCE_S, Person, Town, town

RECEIVING_AGAIN_S = 1.0
LOOK_S = 0.3
"""Reports come once a second; asking all the time would only keep the cores from those who talk."""
STILL = {"rebalance.automatic": False}
"""Nobody is moved but by the drain that is tested."""


@pytest.fixture(scope="module")
def postgres() -> LocalPostgres:
    return shared_postgres()


@pytest.fixture
def database(postgres: LocalPostgres) -> Iterator[str]:
    with fresh_database(postgres) as dsn:
        yield dsn


class Journey:
    """Where one person was connected, in order, and how long each change took."""

    def __init__(self, here: Town, person: Person) -> None:
        self.nodes: list[str] = []
        self.gaps_s: list[float] = []
        self.codes: list[int] = []
        self.told: list[str] = []
        self._clock = here.clock
        self._lost_at: float | None = None
        person.client.on(Connected)(self._arrived)
        person.client.on(Disconnected)(self._left)

    def _arrived(self, event: Connected) -> None:
        self.nodes.append(event.node)
        self.told.append(f"{type(event).__name__} at {event.node}")
        if self._lost_at is not None:
            self.gaps_s.append(self._clock.monotonic() - self._lost_at)
            self._lost_at = None

    def _left(self, event: Disconnected) -> None:
        self.codes.append(event.code)
        self.told.append(f"{event.code} {event.reason}")
        self._lost_at = self._lost_at or self._clock.monotonic()


def operator(here: Town, node: int = 0) -> Operator:
    return Operator(here.nodes[node].url, operator_key(here.nodes[node].secrets.resume_secret))


async def statuses(here: Town, node: int = 0) -> Nodes:
    return await asyncio.to_thread(operator(here, node).get, "nodes", Nodes)


async def people(here: Town, count: int, nodes: int = 3) -> list[Journey]:
    """So many, spread over the nodes as endpoints say, all in the group; every report tells of them."""
    users = [f"u{number}" for number in range(count)]
    await here.gather(*users)
    await reported(here, lambda counts: len(counts) == nodes)
    journeys = [Journey(here, await here.person(user, 0, roams=True)) for user in users]
    await reported(here, lambda counts: sum(counts.values()) == count)
    return journeys


async def sessions(here: Town, node: int = 0) -> dict[str, int]:
    """Of each node that is there, as one of them sees it."""
    found = await statuses(here, node)
    return {each.node: each.sessions for each in found.nodes if each.presence != "gone"}


async def reported(here: Town, condition: Callable[[dict[str, int]], bool], node: int = 0) -> None:
    """Wait until the nodes' sessions, as one of them sees it, are like that."""
    until = here.clock.monotonic() + PATIENCE_S
    while not condition(counts := await sessions(here, node)):
        assert here.clock.monotonic() < until, counts
        await here.clock.sleep(LOOK_S)


async def test_all_nodes_restarted_one_after_another_fail_no_send(database: str, tmp_path: Path) -> None:
    """What a rolling upgrade does: SIGTERM, wait, start again; people go on talking."""
    async with town(database, tmp_path, 3, {"drain.window_s": 2.0, "drain.gather_s": 1.5}) as here:
        journeys = await people(here, 12)

        def restart_all() -> None:
            for node in here.nodes:
                node.stop()
                node.start()

        await here.talk(14, 40, meanwhile={0.5: restart_all})
        here.people[0].say("u0 sums up")
        await here.heard("u0 sums up")
        verdict = await here.judged()
        assert verdict.holds, verdict
        assert verdict.unanswered == 0
        gaps = sorted(gap for journey in journeys for gap in journey.gaps_s)
        assert gaps, "nobody was moved"
        assert gaps[int(len(gaps) * 0.99) - 1] < RECEIVING_AGAIN_S
        told = [journey.told for journey in journeys if {*journey.codes} - {Code.DRAINING, Code.REBALANCED}]
        assert not told, "\n".join(map(str, told))


async def test_a_node_is_drained_by_command_through_any_other_and_serves_again(
    database: str, tmp_path: Path
) -> None:
    async with town(database, tmp_path, 3, {"drain.gather_s": 1.0, **STILL}) as here:
        journeys = await people(here, 9)
        before = await sessions(here)
        name = max(before, key=before.__getitem__)  # whose turn it is to have nobody is chance
        itself = int(name.removeprefix("n")) - 1
        other = (itself + 1) % 3
        ask = operator(here, other)
        await reported(here, lambda counts: counts == before, other)
        told = await asyncio.to_thread(ask.post, "drain", Drain(node=name, within_s=3.0), Drained)
        assert told.sessions == before[name] > 0

        await reported(here, lambda counts: counts[name] == 0 and sum(counts.values()) == 9, other)
        (drained,) = [node for node in (await statuses(here)).nodes if node.node == name]
        assert (drained.draining, drained.ready, drained.share) == (True, False, 0.0)
        assert not any(name in journey.nodes for journey in journeys)
        late = await here.person("late", itself)  # asks the node itself, which names another
        assert late.client.connected
        undone = await asyncio.to_thread(ask.post, "drain", Drain(node=name, undo=True), Drained)
        assert "serves again" in undone.reason
        async with asyncio.timeout(10):
            while not next(n for n in (await statuses(here)).nodes if n.node == name).ready:
                await here.clock.sleep(LOOK_S)
        verdict = await here.judged()
        assert verdict.holds, verdict


async def test_nodes_drained_together_do_not_feed_each_other(database: str, tmp_path: Path) -> None:
    async with town(database, tmp_path, 3, {"drain.window_s": 3.0, "drain.gather_s": 1.5, **STILL}) as here:
        journeys = await people(here, 12)
        await asyncio.gather(*(asyncio.to_thread(here.nodes[number].stop) for number in (0, 1)))
        await reported(here, lambda counts: counts == {"n3": 12}, 2)
        for journey in journeys:
            assert journey.nodes in ([], ["n3"]), journey.told


async def test_a_node_that_joins_gets_its_share_and_nobody_is_moved_twice(
    database: str, tmp_path: Path
) -> None:
    settings = {"balance.slow_start_s": 3.0, "rebalance.share_per_s": 0.2}
    async with town(database, tmp_path, 3, settings) as here:
        await asyncio.to_thread(here.nodes[2].stop)
        await reported(here, lambda counts: len(counts) == 2)
        journeys = await people(here, 24, nodes=2)
        await reported(here, lambda counts: max(counts.values()) <= 13)
        before = [len(journey.nodes) for journey in journeys]
        await asyncio.to_thread(here.nodes[2].start)
        await reported(here, lambda counts: len(counts) == 3 and max(counts.values()) <= 9)
        moves = [len(journey.nodes) - began for journey, began in zip(journeys, before, strict=True)]
        assert max(moves) == 1, [journey.told for journey in journeys]
        assert sum(moves) <= 24 / 3
        others = [journey.told for journey in journeys if {*journey.codes} - {Code.REBALANCED}]
        assert not others, others
        dry = await asyncio.to_thread(operator(here).post, "rebalance", Rebalance(dry_run=True), Rebalanced)
        assert [move.sessions for move in dry.moves] == [0, 0, 0]


async def test_a_node_alone_stops_at_once(database: str, tmp_path: Path) -> None:
    """Its clients have nowhere to go: Ctrl-C does not wait for a window."""
    async with town(database, tmp_path, 1, {"drain.window_s": 30.0}) as here:
        await people(here, 2, nodes=1)
        begun = here.clock.monotonic()
        await asyncio.to_thread(here.nodes[0].stop)
        assert here.clock.monotonic() - begun < 10
