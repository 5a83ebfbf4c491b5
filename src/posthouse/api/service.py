"""What the API needs of the node it belongs to. The composition root supplies both parts."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from posthouse.health.readiness import Readiness
from posthouse.messaging.listing import Lists
from posthouse.model.conversation import Conversation, Member
from posthouse.protocol.frames import MemberCursor
from posthouse.storage.base import Append, Outcome, Page, Refused, User


class Reader(Lists, Protocol):
    """The reading half of the storage port, with the port's meaning: any `Database` is one."""

    async def read(
        self,
        app: str,
        conv: str,
        user: str | None,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int,
    ) -> Page | Refused: ...

    async def conversation(self, app: str, conv: str) -> Conversation | None: ...

    async def members(self, app: str, conv: str, *, after: str = "", limit: int = 1_000) -> list[Member]: ...

    async def member(self, app: str, conv: str, user: str) -> Member | None: ...

    async def cursors(self, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]: ...

    async def users(self, app: str, users: Sequence[str]) -> list[User]: ...


class Endpoint(msgspec.Struct, frozen=True):
    """A URL that clients connect to. Of several, a client picks one in proportion to the weights, which are shares of
    the new sessions; the first is the best for whoever asked. Weight 0: only when all others fail. Operators, who show
    their key, are told the reason.
    """

    url: str
    weight: int = 100
    reason: str | msgspec.UnsetType = msgspec.UNSET


class Service(Protocol):
    """The node: everything that does more than read."""

    async def append(self, append: Append) -> Outcome:
        """Write one entry through group commit, and fan it out. The outcome is certain or UNAVAILABLE."""
        ...

    async def put_user(self, app: str, user: User) -> User:
        """Store what the app says about a user, and let every node know when that blocks or unblocks them."""
        ...

    def is_blocked(self, app: str, user: str) -> bool:
        """True when the app has blocked the user, as far as this node has heard."""
        ...

    async def online(self, app: str, users: Sequence[str]) -> Sequence[bool | None]:
        """For each user whether any of their devices is connected; None while nobody can say."""
        ...

    def endpoints(self, host: str, *, secure: bool, reasons: bool) -> Sequence[Endpoint]:
        """Where clients connect, the best first. `host` (with port) is where this was asked, for a node that has no
        public URL. `reasons`: say why."""
        ...

    def is_alone(self) -> bool:
        """True when one node takes all clients although there are others: who hears of one only asks again soon."""
        ...

    def ready(self) -> Readiness:
        """Whether this node should get traffic."""
        ...

    def metrics_text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        ...
