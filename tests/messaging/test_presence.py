"""Presence follows from the routes: who has a session anywhere is online, and "unknown" is not "no"."""

from collections.abc import Sequence

from posthouse.cache.base import LogKey
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.messaging.presence import Presence


class SilentRoutes(MemoryRoutes):
    """The cache is down."""

    async def gateways(self, keys: Sequence[LogKey], among: Sequence[str]) -> list[frozenset[str] | None]:
        return [None for _ in keys]


async def test_who_has_a_session_here_or_elsewhere_is_online() -> None:
    routes = MemoryRoutes()
    await routes.register("other", [("app", "~bob")])
    await routes.register("gone", [("app", "~cho")])
    presence = Presence(routes, lambda: ["other"], lambda app, user: user == "ann")
    assert await presence.online("app", ["ann", "bob", "cho"]) == [True, True, False]
    assert await presence.online("elsewhere", ["bob"]) == [False]


async def test_without_the_cache_only_those_here_are_known() -> None:
    presence = Presence(SilentRoutes(), lambda: ["other"], lambda app, user: user == "ann")
    assert await presence.online("app", ["ann", "bob"]) == [True, None]
