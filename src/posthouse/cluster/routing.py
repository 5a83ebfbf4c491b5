"""Several databases as one: each question goes to those that own the shards concerned, to all of them at once.

The shard map may be out of date: a database that is asked for what is no longer its own raises `Moved`; then the map
is loaded anew and only that part is asked again. A dead database harms only what lies in it: answers about many logs
say None for those it holds, which means "unknown". Event loop only; no state of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

from posthouse.cluster.databases import SCATTER_TIMEOUT_S, Databases
from posthouse.model.conversation import Conversation, Member
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import MemberCursor
from posthouse.storage.base import (
    Append,
    CursorUpdate,
    Database,
    Inbox,
    IsWanted,
    Listed,
    Moved,
    Outcome,
    Page,
    PartlyUnavailable,
    Refused,
    StorageError,
    User,
    UserConv,
    always,
    as_refusal,
)
from posthouse.storage.marks import TOP, Mark

K = TypeVar("K")
R = TypeVar("R")

ATTEMPTS_MAX = 6
"""Of a question whose shard is on the move: the last one comes most of a second after the first."""
APPEND_ATTEMPTS_MAX = 2
"""Of sends no more than it takes to learn of a move: what cannot be written yet must not keep others waiting."""


class Parts(NamedTuple, Generic[K, R]):
    """What came of a question about many keys: answers with the keys they are about, and keys left unanswered."""

    answered: list[tuple[list[K], R]]
    failed: list[K]
    error: StorageError | None


class RoutedDatabase:
    """The port's `Storage` over `databases`."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases

    @property
    def epoch(self) -> str:
        return self.databases.epoch

    async def open(self) -> None:
        await self.databases.open()

    async def close(self) -> None:
        await self.databases.close()

    # Log ----------------------------------------------------------------------------------------------------------

    async def append(self, batch: Sequence[Append], is_wanted: IsWanted = always) -> list[Outcome]:
        """As the port says; what lies in different databases is written in a transaction of each."""
        if self.databases.single is not None:
            return await self.databases.single.append(batch, is_wanted)
        outcomes: dict[int, Outcome] = {}
        left = list(range(len(batch)))
        for attempt in range(APPEND_ATTEMPTS_MAX):
            if not left:
                break
            if attempt:
                await self.databases.wait_reload(attempt)
            parts = self._grouped(left, lambda at: (batch[at].app, batch[at].conv))
            answers = await asyncio.gather(
                *(self._append(name, [batch[at] for at in own], is_wanted) for name, own in parts.items())
            )
            for own, answer in zip(parts.values(), answers, strict=True):
                outcomes.update(zip(own, answer, strict=True))
            left = [at for at in left if _is_moved(outcomes[at])]
        return [outcomes[at] for at in range(len(batch))]

    async def _append(self, name: str, batch: Sequence[Append], is_wanted: IsWanted) -> list[Outcome]:
        try:
            return await self.databases.get(name).append(batch, is_wanted)
        except StorageError as error:
            return [as_refusal(error)] * len(batch)

    async def read(
        self,
        app: str,
        conv: str,
        user: str | None,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int,
        bytes_max: int = 1 << 20,
    ) -> Page | Refused:
        return await self._at(
            app,
            conv,
            lambda database: database.read(
                app, conv, user, after=after, before=before, limit=limit, bytes_max=bytes_max
            ),
        )

    async def conversation(self, app: str, conv: str) -> Conversation | None:
        return await self._at(app, conv, lambda database: database.conversation(app, conv))

    async def members(self, app: str, conv: str, *, after: str = "", limit: int = 1_000) -> list[Member]:
        return await self._at(
            app, conv, lambda database: database.members(app, conv, after=after, limit=limit)
        )

    async def member(self, app: str, conv: str, user: str) -> Member | None:
        return await self._at(app, conv, lambda database: database.member(app, conv, user))

    async def cursors(self, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]:
        return await self._at(app, conv, lambda database: database.cursors(app, conv, users))

    async def inboxes(self, app: str, users: Sequence[str]) -> Sequence[Inbox | None]:
        if self.databases.single is not None:
            return await self.databases.single.inboxes(app, users)
        parts = await self._scatter(
            list(dict.fromkeys(users)),
            lambda user: (app, account_id(user)),
            lambda database, own: database.inboxes(app, own),
        )
        found = _by_key(parts)
        return [found.get(user) for user in users]

    async def memberships(self, app: str, pairs: Sequence[UserConv]) -> Sequence[int | None]:
        if self.databases.single is not None:
            return await self.databases.single.memberships(app, pairs)
        parts = await self._scatter(
            list(dict.fromkeys(pairs)),
            lambda pair: (app, pair[1]),
            lambda database, own: database.memberships(app, own),
        )
        found = _by_key(parts)
        return [found.get(pair) for pair in pairs]

    async def heads(self, app: str, convs: Sequence[str]) -> Mapping[str, int | None]:
        if self.databases.single is not None:
            return await self.databases.single.heads(app, convs)
        parts = await self._scatter(
            list(dict.fromkeys(convs)),
            lambda conv: (app, conv),
            lambda database, own: database.heads(app, own),
        )
        heads: dict[str, int | None] = dict.fromkeys(parts.failed)
        for _, answer in parts.answered:
            heads |= answer
        return heads

    async def summaries(
        self, app: str, user: str, convs: Sequence[str], *, below: Mark = TOP, limit: int = 500
    ) -> list[Listed]:
        """As the port says, and whole: raises when one of the databases concerned cannot be asked."""
        if self.databases.single is not None:
            return await self.databases.single.summaries(app, user, convs, below=below, limit=limit)
        answers = _all(
            await self._scatter(
                list(dict.fromkeys(convs)),
                lambda conv: (app, conv),
                lambda database, own: database.summaries(app, user, own, below=below, limit=limit),
            )
        )
        return sorted(chain.from_iterable(answers), key=lambda each: each.mark, reverse=True)[:limit]

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        if self.databases.single is not None or not updates:
            return await self.databases.single.advance(updates) if self.databases.single is not None else []
        answered, failed, error = await self._scatter(
            updates,
            lambda each: (each.app, each.cursor.conv),
            lambda database, own: database.advance(own),
            timeout_s=None,
        )
        stored = list(chain.from_iterable(answer for _, answer in answered))
        if error is not None:
            raise PartlyUnavailable(str(error), stored, failed) if answered else error
        return stored

    # Directory ----------------------------------------------------------------------------------------------------

    async def put_user(self, app: str, user: User) -> User:
        return await self._at(app, account_id(user.user), lambda database: database.put_user(app, user))

    async def users(self, app: str, users: Sequence[str]) -> list[User]:
        if self.databases.single is not None:
            return await self.databases.single.users(app, users)
        answers: list[list[User]] = _all(
            await self._scatter(
                list(dict.fromkeys(users)),
                lambda user: (app, account_id(user)),
                lambda database, own: database.users(app, own),
            )
        )
        return list(chain.from_iterable(answers))

    async def blocked(self, app: str) -> list[str]:
        answers = await asyncio.gather(
            *(database.blocked(app) for database in self.databases.opened.values())
        )
        return list(dict.fromkeys(chain.from_iterable(answers)))

    # --------------------------------------------------------------------------------------------------------------

    async def _at(self, app: str, log: str, ask: Callable[[Database], Awaitable[R]]) -> R:
        """Ask the one database that owns a log."""
        if self.databases.single is not None:
            return await ask(self.databases.single)
        for attempt in range(1, ATTEMPTS_MAX):
            try:
                return await ask(self.databases.get(self.databases.owner(app, log)))
            except Moved:
                await self.databases.wait_reload(attempt)
        return await ask(self.databases.get(self.databases.owner(app, log)))

    async def _scatter(
        self,
        keys: Sequence[K],
        log_of: Callable[[K], tuple[str, str]],
        ask: Callable[[Database, list[K]], Awaitable[R]],
        *,
        timeout_s: float | None = SCATTER_TIMEOUT_S,
    ) -> Parts[K, R]:
        """Ask each database about the keys that it owns, all at once; whoever has moved is asked for again."""
        parts: Parts[K, R] = Parts([], [], None)
        left, attempt = list(keys), 0
        while left:
            if attempt:
                await self.databases.wait_reload(attempt)
            attempt += 1
            groups = self._grouped(left, log_of)
            answers = await asyncio.gather(
                *(self._ask_part(name, own, ask, timeout_s) for name, own in groups.items())
            )
            left = []
            for own, answer in zip(groups.values(), answers, strict=True):
                if isinstance(answer, Moved) and attempt < ATTEMPTS_MAX:
                    left += own
                elif isinstance(answer, StorageError):
                    parts.failed.extend(own)
                    parts = parts._replace(error=answer)
                else:
                    parts.answered.append((own, answer))
        return parts

    async def _ask_part(
        self,
        name: str,
        own: list[K],
        ask: Callable[[Database, list[K]], Awaitable[R]],
        timeout_s: float | None,
    ) -> R | StorageError:
        return await self.databases.ask(name, lambda database: ask(database, own), timeout_s)

    def _grouped(self, keys: Iterable[K], log_of: Callable[[K], tuple[str, str]]) -> dict[str, list[K]]:
        groups: dict[str, list[K]] = {}
        for key in keys:
            groups.setdefault(self.databases.owner(*log_of(key)), []).append(key)
        return groups


def _is_moved(outcome: Outcome) -> bool:
    return isinstance(outcome, Refused) and outcome.code == Code.MOVED


def _all(parts: Parts[Any, R]) -> list[R]:
    """All the answers. Raises when one is missing."""
    if parts.error is not None:
        raise parts.error
    return [answer for _, answer in parts.answered]


def _by_key(parts: Parts[K, Sequence[R]]) -> dict[K, R]:
    """Answers that are in the order asked, by what was asked."""
    return {key: each for keys, answer in parts.answered for key, each in zip(keys, answer, strict=True)}
