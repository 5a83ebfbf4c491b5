"""The rebalancer: sheds what the decision says, of its own, by chance, and nobody twice."""

import random

from posthouse.balance.policy import Decision
from posthouse.balance.rebalancing import RebalanceRule
from posthouse.balance.report import LoadReport, Snapshot, snapshot_of
from posthouse.gateway.drain import Place
from posthouse.gateway.rebalancer import TICK_S, Rebalancer
from posthouse.kit.tasks import Tasks
from posthouse.protocol.codes import Code
from tests.gateway.hall import Guest, Hall, hall, settled

RULE = RebalanceRule(share_per_s=0.1)


class Cluster:
    """This gateway and another node, as the gateway sees them."""

    def __init__(self, it: Hall, others: int = 0, since: float = -1e6) -> None:
        self.it, self.others, self.since = it, others, since

    def picture(self) -> Snapshot:
        now = self.it.clock.monotonic()
        own = LoadReport("n", at=now, connections=len(self.it.gateway.sessions))
        return snapshot_of([own, LoadReport("o", at=now, connections=self.others, since=self.since)], now)

    def place(self, decision: Decision) -> Place:
        self.others += decision.target == "o"
        return Place("ws://o/v1/ws" if decision.target else "", decision.reason)

    def rebalancer(self, again_after_s: float = 600.0) -> Rebalancer:
        return Rebalancer(
            "n",
            lambda: self.it.gateway.connections,
            self.picture,
            self.place,
            RULE,
            again_after_s,
            self.it.clock,
            random.Random(1),
        )


async def people(it: Hall, count: int) -> list[Guest]:
    return [await it.enter(f"u{number}") for number in range(count)]


def moved(among: list[Guest]) -> list[Guest]:
    for guest in among:
        if guest.ended and guest.session in guest.session.host.connections:  # type: ignore[attr-defined]
            guest.session.closed(guest.ended)
    return [guest for guest in among if guest.ended == Code.REBALANCED]


async def run(it: Hall, rebalancer: Rebalancer, among: list[Guest], seconds: float) -> int:
    tasks = Tasks(it.clock)
    tasks.supervise("rebalance", rebalancer.run)
    await settled()
    for _ in range(int(seconds / TICK_S)):
        await it.clock.advance(TICK_S)
        moved(among)
    await tasks.close()
    return len(moved(among))


async def test_it_sheds_its_excess_to_the_node_that_has_room_and_then_stops() -> None:
    async with hall() as it:
        cluster, guests = Cluster(it), await people(it, 40)
        rebalancer = cluster.rebalancer()
        assert await run(it, rebalancer, guests, 30) == 19
        assert cluster.others == rebalancer.moved == 19
        assert {guest.heard("goaway")[0]["endpoint"] for guest in moved(guests)} == {"ws://o/v1/ws"}
        assert "keeps its sessions" in rebalancer.last.why


async def test_it_sheds_no_faster_than_its_tokens_allow() -> None:
    async with hall() as it:
        guests = await people(it, 40)
        assert await run(it, Cluster(it).rebalancer(), guests, 1) <= 5


async def test_switched_off_it_moves_nobody_until_it_is_asked() -> None:
    async with hall() as it:
        guests, rebalancer = await people(it, 40), Cluster(it).rebalancer()
        rebalancer.automatic = False
        assert await run(it, rebalancer, guests, 10) == 0
        rebalancer.ask()
        assert await run(it, rebalancer, guests, 30) == 19


async def test_sessions_that_were_moved_here_lately_stay() -> None:
    """At most once each: the others are enough."""
    async with hall() as it:
        cluster, guests = Cluster(it), await people(it, 40)
        for guest in guests[:30]:
            guest.session.came_from = "o"
        rebalancer = cluster.rebalancer(again_after_s=100.0)
        assert await run(it, rebalancer, guests, 30) == 10
        assert not any(guest.ended for guest in guests[:30])
        await it.clock.advance(100.0)
        assert len(rebalancer.movable(cluster.picture())) == 30


async def test_sessions_that_a_restart_drove_here_may_be_moved_back() -> None:
    """Otherwise nobody could fill the node that was restarted last."""
    async with hall() as it:
        guests = await people(it, 40)
        for guest in guests:
            guest.session.came_from = "o"
        await it.clock.advance(5.0)
        cluster = Cluster(it, since=it.clock.monotonic())
        assert len(cluster.rebalancer().movable(cluster.picture())) == 40


async def test_where_nobody_has_room_nobody_is_moved() -> None:
    async with hall() as it:
        cluster, guests = Cluster(it), await people(it, 40)
        cluster.place = lambda decision: Place("", "unknown")  # type: ignore[method-assign]
        assert await run(it, cluster.rebalancer(), guests, 5) == 0
