"""What every register of nodes must do: show who has announced itself lately, and nobody else.

A subclass defines the fixture `nodes`, empty for each test, and its time passes by itself.
"""

from posthouse.cache.base import Nodes
from posthouse.testing.contracts.leases import until

LONG_S = 60.0
SHORT_S = 0.03


class NodesContract:
    """Run on every engine of `posthouse.cache.base.Nodes`."""

    async def test_at_first_there_is_nobody(self, nodes: Nodes) -> None:
        assert await nodes.all() == []

    async def test_all_who_have_announced_themselves_are_shown_in_the_order_of_names(
        self, nodes: Nodes
    ) -> None:
        for name in ("b", "c", "a"):
            assert await nodes.announce(name, 1, name.encode(), LONG_S)
        shown = await nodes.all()
        assert [(record.node, record.report) for record in shown] == [("a", b"a"), ("b", b"b"), ("c", b"c")]

    async def test_any_name_and_any_report_come_back_as_they_were(self, nodes: Nodes) -> None:
        report = bytes(range(256)) * 40
        for name in ("a b", "a:b", "{a}", "王小明"):
            await nodes.announce(name, 2**53 - 1, report, LONG_S)
        shown = await nodes.all()
        assert {record.node for record in shown} == {"a b", "a:b", "{a}", "王小明"}
        assert all((record.incarnation, record.report) == (2**53 - 1, report) for record in shown)

    async def test_the_latest_report_counts(self, nodes: Nodes) -> None:
        await nodes.announce("a", 1, b"old", LONG_S)
        await nodes.announce("a", 1, b"", LONG_S)
        assert [record.report for record in await nodes.all()] == [b""]

    async def test_silence_is_counted_from_the_last_announcement(self, nodes: Nodes) -> None:
        async def silent_for_a_while() -> bool:
            return (await nodes.all())[0].silent_s >= SHORT_S

        await nodes.announce("a", 1, b"", LONG_S)
        await until(silent_for_a_while)
        await nodes.announce("a", 1, b"", LONG_S)
        assert 0 <= (await nodes.all())[0].silent_s < LONG_S

    async def test_who_falls_silent_is_gone_and_may_come_back(self, nodes: Nodes) -> None:
        async def only_b() -> bool:
            return [record.node for record in await nodes.all()] == ["b"]

        await nodes.announce("a", 1, b"", SHORT_S)
        await nodes.announce("b", 1, b"", LONG_S)
        await until(only_b)
        assert await nodes.announce("a", 1, b"back", LONG_S)
        assert [record.node for record in await nodes.all()] == ["a", "b"]

    async def test_a_newer_start_of_a_node_takes_over_and_the_older_one_is_told(self, nodes: Nodes) -> None:
        assert await nodes.announce("a", 1, b"old", LONG_S)
        assert await nodes.announce("a", 2, b"new", LONG_S)
        assert not await nodes.announce("a", 1, b"thawed", LONG_S)
        assert [(record.incarnation, record.report) for record in await nodes.all()] == [(2, b"new")]

    async def test_a_node_takes_away_only_its_own_record(self, nodes: Nodes) -> None:
        await nodes.announce("a", 2, b"new", LONG_S)
        await nodes.announce("b", 1, b"", LONG_S)
        await nodes.retract("a", 1)
        await nodes.retract("nobody", 1)
        assert [record.node for record in await nodes.all()] == ["a", "b"]
        await nodes.retract("a", 2)
        assert [record.node for record in await nodes.all()] == ["b"]

    async def test_after_it_was_taken_away_an_older_start_may_announce_itself(self, nodes: Nodes) -> None:
        """Whoever starts with an older number when nobody is there is simply there: clocks may be set back."""
        await nodes.announce("a", 2, b"", LONG_S)
        await nodes.retract("a", 2)
        assert await nodes.announce("a", 1, b"", LONG_S)

    async def test_a_large_cluster_fits(self, nodes: Nodes) -> None:
        for number in range(200):
            await nodes.announce(f"node-{number:03}", number, b"x" * 1_000, LONG_S)
        assert [record.incarnation for record in await nodes.all()] == list(range(200))
