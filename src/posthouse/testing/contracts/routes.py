"""What every cache of routes must do: say which gateways follow a log, and tell "nobody" from "unknown".

A subclass defines the fixture `routes`, empty for each test.
"""

import asyncio

from posthouse.cache.base import LogKey, Routes

C: LogKey = ("app", "c")
D: LogKey = ("app", "d")
ALL = ("one", "two", "three", *(f"g{number}" for number in range(20)))
"""The gateways that are live."""


class RoutesContract:
    """Run on every engine of `posthouse.cache.base.Routes`."""

    async def test_a_log_that_nobody_follows_is_known_to_have_nobody(self, routes: Routes) -> None:
        """Not None: that would mean "unknown", and every gateway would be told of everything."""
        assert await routes.gateways([C], ALL) == [frozenset()]

    async def test_each_log_names_the_gateways_that_follow_it_in_the_order_asked(
        self, routes: Routes
    ) -> None:
        await routes.register("one", [C, D])
        await routes.register("two", [D])
        assert await routes.gateways([D, ("app", "e"), C], ALL) == [
            frozenset({"one", "two"}), frozenset(), frozenset({"one"})
        ]  # fmt: skip

    async def test_registering_again_changes_nothing(self, routes: Routes) -> None:
        for _ in range(2):
            await routes.register("one", [C, C])
        assert await routes.gateways([C, C], ALL) == [frozenset({"one"})] * 2
        await routes.unregister("one", [C])
        assert await routes.gateways([C], ALL) == [frozenset()]

    async def test_a_gateway_takes_away_only_its_own(self, routes: Routes) -> None:
        await routes.register("one", [C, D])
        await routes.register("two", [C])
        await routes.unregister("one", [C])
        await routes.unregister("three", [C, D])
        assert await routes.gateways([C, D], ALL) == [frozenset({"two"}), frozenset({"one"})]

    async def test_what_is_unregistered_twice_or_never_was_is_passed_over(self, routes: Routes) -> None:
        await routes.register("one", [C])
        for _ in range(2):
            await routes.unregister("one", [C, D])
        assert await routes.gateways([C, D], ALL) == [frozenset(), frozenset()]

    async def test_apps_are_apart(self, routes: Routes) -> None:
        await routes.register("one", [("app", "c")])
        assert await routes.gateways([("other", "c"), ("app", "c")], ALL) == [frozenset(), frozenset({"one"})]

    async def test_only_gateways_that_are_live_are_named(self, routes: Routes) -> None:
        await routes.register("one", [C])
        await routes.register("two", [C])
        assert await routes.gateways([C], ["two", "three"]) == [frozenset({"two"})]

    async def test_a_gateway_that_stops_takes_all_its_routes_along(self, routes: Routes) -> None:
        await routes.register("one", [C, D])
        await routes.register("two", [C])
        await routes.forget("one")
        assert await routes.gateways([C, D], ALL) == [frozenset({"two"}), frozenset()]

    async def test_nothing_asked_is_nothing_answered(self, routes: Routes) -> None:
        await routes.register("one", [])
        await routes.unregister("one", [])
        assert await routes.gateways([], ALL) == []

    async def test_ids_of_any_script_and_punctuation_are_apart(self, routes: Routes) -> None:
        """Whatever a cache joins keys with may stand in an id."""
        keys = [
            ("a", "b:c"),
            ("a:b", "c"),
            ("a", "王小明"),
            ("a", "|trey|"),
            ("a", "{x}"),
            ("a", "~ann"),
            ("a", "b c"),
        ]
        for number, key in enumerate(keys):
            await routes.register(f"g{number}", [key])
        assert await routes.gateways(keys, ALL) == [frozenset({f"g{number}"}) for number in range(len(keys))]

    async def test_very_many_logs_at_once(self, routes: Routes) -> None:
        keys = [("app", str(number)) for number in range(10_000)]
        await routes.register("one", keys)
        assert await routes.gateways(keys, ALL) == [frozenset({"one"})] * len(keys)
        await routes.unregister("one", keys[1:])
        assert sum(map(bool, await routes.gateways(keys, ALL))) == 1

    async def test_changes_at_the_same_time_are_all_made(self, routes: Routes) -> None:
        await asyncio.gather(*(routes.register(f"g{number}", [C]) for number in range(20)))
        assert await routes.gateways([C], ALL) == [frozenset(f"g{number}" for number in range(20))]
        await asyncio.gather(*(routes.unregister(f"g{number}", [C]) for number in range(19)))
        assert await routes.gateways([C], ALL) == [frozenset({"g19"})]
