"""What the REST API asks of this node."""

from collections.abc import Callable, Sequence

from posthouse.api.service import Endpoint
from posthouse.app.balancing import Balancing
from posthouse.gateway.gateway import Gateway
from posthouse.health.probes import Probes
from posthouse.health.readiness import Readiness
from posthouse.messaging.commits import Commit
from posthouse.messaging.notes import BlockNote, UnblockNote
from posthouse.messaging.presence import Presence
from posthouse.messaging.publish import Publisher
from posthouse.storage.base import Append, Outcome, Storage, User


class NodeService:
    """Everything of the API that does more than read."""

    def __init__(
        self,
        database: Storage,
        commit: Commit,
        publisher: Publisher,
        gateway: Gateway,
        probes: Probes,
        metrics_text: Callable[[], bytes],
        balancing: Balancing,
        presence: Presence,
    ) -> None:
        self._database = database
        self._commit = commit
        self._publisher = publisher
        self._gateway = gateway
        self._probes = probes
        self._balancing = balancing
        self._presence = presence
        self.metrics_text = metrics_text

    async def append(self, append: Append) -> Outcome:
        """Through group commit, like every other send."""
        return await self._commit.append(append)

    async def put_user(self, app: str, user: User) -> User:
        """Store, then let every gateway know of a block: what is stored is what a node reads when it starts."""
        stored = await self._database.put_user(app, user)
        note = BlockNote if stored.blocked else UnblockNote
        self._publisher.post([note(app, stored.user)])
        return stored

    def is_blocked(self, app: str, user: str) -> bool:
        """As far as this node has heard."""
        return self._gateway.is_blocked(app, user)

    async def online(self, app: str, users: Sequence[str]) -> Sequence[bool | None]:
        """In the whole cluster, as far as the routes know."""
        return await self._presence.online(app, users)

    def endpoints(self, host: str, *, secure: bool, reasons: bool) -> Sequence[Endpoint]:
        """The nodes, the best for whoever asks first."""
        return self._balancing.endpoints(host, secure=secure, reasons=reasons)

    def is_alone(self) -> bool:
        """As far as this node knows of the others."""
        return self._balancing.alone

    def ready(self) -> Readiness:
        """The last verdict on this node."""
        return self._probes.readiness()
