"""A node among others: who is there, what a silent or wiped cache changes, and who must stop."""

from posthouse.balance.report import LoadReport
from posthouse.cluster.membership import Membership
from posthouse.cluster.snapshot import TTL_S, NodeReport, Presence
from posthouse.kit.clock import ManualClock
from tests.cluster.silent_cache import Silence, SilentNodes


class Town:
    """Nodes around one register."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.nodes = SilentNodes(self.clock)
        self.nodes.silence = Silence()
        self.happened: list[str] = []

    def member(self, name: str) -> Membership:
        report = NodeReport(node="", incarnation=0, load=LoadReport(name))
        member = Membership(name, self.nodes, lambda: report, self.clock)
        member.on_superseded = lambda: self.happened.append(f"{name} superseded")
        member.on_absent = lambda reason: self.happened.append(f"{name} absent")
        return member

    async def seconds(self, count: int, *members: Membership) -> None:
        for _ in range(count):
            await self.clock.advance(1)
            for member in members:
                await member.beat()


async def test_nodes_find_each_other() -> None:
    town = Town()
    a, b = town.member("a"), town.member("b")
    await a.join()
    await b.join()
    await town.seconds(1, a, b)
    assert (a.peers(), b.peers()) == (("b",), ("a",))
    assert a.snapshot.gateways == ("a", "b")


async def test_a_node_that_falls_silent_is_told_until_its_time_is_up() -> None:
    town = Town()
    a, b = town.member("a"), town.member("b")
    await b.join()
    await a.join()
    await town.seconds(2, a)
    assert a.peers() == ("b",)
    await town.seconds(2, a)
    assert a.peers() == ()
    gone = a.snapshot.get("b")
    assert gone is not None
    assert gone.presence is Presence.GONE


async def test_a_silent_cache_takes_nobody_away() -> None:
    town = Town()
    a, b = town.member("a"), town.member("b")
    await b.join()
    await a.join()
    town.nodes.silence.down = True
    await town.seconds(60, a, b)
    assert (a.peers(), a.snapshot.known) == (("b",), False)
    town.nodes.silence.down = False
    await town.seconds(1, a, b)
    assert a.snapshot.known


async def test_a_wiped_register_fills_again_and_nobody_was_left_out() -> None:
    town = Town()
    a, b = town.member("a"), town.member("b")
    await b.join()
    await a.join()
    town.nodes.wipe()
    await town.seconds(1, a)
    assert a.peers() == ("b",)
    await town.seconds(1, b, a)
    assert all(view.presence is Presence.LIVE for view in a.snapshot.nodes)


async def test_a_node_started_again_supersedes_what_is_left_of_it() -> None:
    """Also when the clock of its machine has gone back meanwhile."""
    town = Town()
    before, after = town.member("a"), town.member("a")
    before.incarnation += 5_000
    await before.join()
    await after.join()
    assert after.incarnation > before.incarnation
    await town.seconds(3, before, after)
    assert town.happened == ["a superseded"]
    assert (before.superseded, after.superseded) == (True, False)


async def test_a_superseded_node_announces_nothing_any_more() -> None:
    town = Town()
    before, after = town.member("a"), town.member("a")
    after.incarnation += 1
    await before.join()
    await after.join()
    await town.seconds(1, before)
    await town.seconds(10, before)
    assert await town.nodes.all() == []
    await before.leave()
    assert await town.nodes.all() == []


async def test_a_frozen_node_learns_that_it_was_gone() -> None:
    """By its own clock, for the others may have sent it nothing meanwhile."""
    town = Town()
    a = town.member("a")
    await a.join()
    await town.seconds(3, a)
    assert town.happened == []
    await town.clock.advance(TTL_S + 1)
    await a.beat()
    assert town.happened == ["a absent"]
    await town.seconds(3, a)
    assert town.happened == ["a absent"]


async def test_a_node_that_stops_is_gone_at_once() -> None:
    town = Town()
    a, b = town.member("a"), town.member("b")
    await b.join()
    await a.join()
    await b.leave()
    await town.seconds(1, a)
    assert a.peers() == ()


async def test_leaving_a_silent_cache_fails_nobody() -> None:
    town = Town()
    a = town.member("a")
    await a.join()
    town.nodes.silence.down = True
    await a.leave()
