"""Who is connected, as far as the routes know: gateways register the account logs of users who have a session there.

Soft state and a hint. Just after the cache has lost something it says "online" too often, never too seldom.
"""

from collections.abc import Callable, Sequence

from posthouse.cache.base import Routes
from posthouse.model.ids import account_id


class Presence:
    """`here` says whether a user is connected to this node; `peers` names the other live gateways."""

    def __init__(
        self, routes: Routes, peers: Callable[[], Sequence[str]], here: Callable[[str, str], bool]
    ) -> None:
        self._routes = routes
        self._peers = peers
        self._here = here

    async def online(self, app: str, users: Sequence[str]) -> list[bool | None]:
        """For each user whether any of their devices is connected; None where nobody can say now."""
        gateways = await self._routes.gateways([(app, account_id(user)) for user in users], self._peers())
        return [
            True if self._here(app, user) else None if found is None else bool(found)
            for user, found in zip(users, gateways, strict=True)
        ]
