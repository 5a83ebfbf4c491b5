"""The databases of the system by name: opening them, knowing who owns which shard, asking one with a limit of time.

What is asked and how answers are put together is `routing`'s. Event loop only. A database that is away is opened as
soon as it is back; until then whoever asks it is refused at once.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

from posthouse.cluster.shard_map import ShardMap, dealt, first_deal, newer
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import start
from posthouse.storage.append import SHARDS
from posthouse.storage.base import Charter, Database, StorageError, StorageFull, StorageUnavailable

_log = logger(__name__)

R = TypeVar("R")

RETRY_S = 0.05
"""Before the second retry, and twice as long before each further one."""
SCATTER_TIMEOUT_S = 2.0
"""How long the others wait for one database that does not answer."""
AWAY_S = 1.0
"""How often a database that did not answer in time is asked again. Until it has answered nobody waits for it."""
REFRESH_INTERVAL_S = 5.0
STRANGER = (
    "it is empty, and another one than before: restore the one that had this name, or correct its address"
)


class Databases:
    """Named databases. `open` and `close` are theirs; `run` is the loop.

    `on_open` is called once for each database, before anything is asked of it: what a node must know of all users
    (who is blocked) is read there. `on_moved` hears of shards that have other owners now.
    """

    def __init__(self, databases: Mapping[str, Database], clock: Clock, shards: int = SHARDS) -> None:
        self.named = dict(sorted(databases.items()))
        self.map = ShardMap(tuple(row._replace(epoch=0) for row in dealt(list(self.named), shards).owners))
        self._clock = clock
        self.single = next(iter(self.named.values())) if len(self.named) == 1 else None
        self.opened: dict[str, Database] = {}
        self._problems: dict[str, str] = {}
        self._epochs: dict[str, str] = {}
        self._silent: dict[str, asyncio.Task[None]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._dealt = False
        self.on_open: Callable[[str, Database], Awaitable[None]] = _nothing
        self.on_moved: Callable[[Sequence[int]], None] = lambda shards: None
        self.reloads = 0

    @property
    def epoch(self) -> str:
        """One word for the epochs of all databases. One that is away counts with the epoch last heard of."""
        if self.single is not None:
            return self.single.epoch
        for name, database in self.opened.items():
            self._epochs[name] = database.epoch or self._epochs.get(name, "")
        text = "\n".join(f"{name}={self._epochs.get(name, '')}" for name in self.named)
        return blake2b(text.encode(), digest_size=12).hexdigest()

    @property
    def away(self) -> dict[str, str]:
        """The databases that could not be opened yet, and why."""
        return dict(self._problems)

    def owner(self, app: str, log: str) -> str:
        """The name of the database that holds a log, as far as this node has heard."""
        return self.map.owner(app, log)

    async def open(self) -> None:
        """Open all that can be opened. Raises `StorageError` when none can, or when shards have never been dealt and
        not all databases are there to agree on it."""
        errors = await asyncio.gather(*map(self._try_open, self.named))
        if not self.opened:
            raise next(error for error in errors if error is not None)
        await self._charter()
        if not self._dealt and self._problems:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self._problems.items())
            raise StorageUnavailable(f"the first start needs every database, to deal the shards. {reasons}")

    async def close(self) -> None:
        for task in (self._refreshing, *self._silent.values()):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(database.close() for database in self.named.values()))

    async def run(self) -> None:
        """Keep the map fresh and open what was away, for ever."""
        while True:
            await self._clock.sleep(REFRESH_INTERVAL_S)
            for name in [name for name in self.named if name not in self.opened]:
                await self._try_open(name)
            await self.reload()

    async def reload(self) -> None:
        """Ask all databases for their shards. Callers who come while it is under way wait for the same answer."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = start(self._refresh())
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        self.reloads += 1
        await self._charter()

    async def _try_open(self, name: str) -> StorageError | None:
        database = self.named[name]
        try:
            await database.open()
            if name in self._epochs and _is_stranger(
                name, await database.charter(), database.epoch, self._epochs
            ):
                raise StorageUnavailable(STRANGER)
            await self.on_open(name, database)
        except StorageError as error:
            if self._problems.get(name) != str(error):
                _log.warning("a database cannot be opened", database=name, reason=str(error))
            self._problems[name] = str(error)
            return error
        self.opened[name] = database
        self._problems.pop(name, None)
        return None

    async def _charter(self) -> None:
        """Hear what each database says, deal if nothing was dealt, and tell those who know less than others."""
        said = self._without_strangers(await self._said())
        self._note(said)
        if not any(charter.owners for charter in said.values()) and len(said) == len(self.named):
            await self._deal(said)
            return
        self._dealt = self._dealt or any(charter.owners for charter in said.values())
        if self._dealt:
            await self._teach(said)

    def _without_strangers(self, said: Mapping[str, Charter]) -> dict[str, Charter]:
        """Leave out a database that has lost all it had: it would serve emptiness as if that were the truth."""
        known = {name: epoch for charter in said.values() for name, epoch in charter.epochs.items()}
        for name in [
            name for name, own in said.items() if _is_stranger(name, own, self.opened[name].epoch, known)
        ]:
            del self.opened[name]
            self._problems[name] = STRANGER
            _log.error("a database was left out", database=name, reason=STRANGER)
        return {name: charter for name, charter in said.items() if name in self.opened}

    async def _said(self) -> dict[str, Charter]:
        names = list(self.opened)
        answers = await asyncio.gather(*(self.ask(name, _charter_of) for name in names))
        return {
            name: answer
            for name, answer in zip(names, answers, strict=True)
            if not isinstance(answer, StorageError)
        }

    def _note(self, said: Mapping[str, Charter]) -> None:
        for charter in said.values():
            for name, epoch in charter.epochs.items():
                self._epochs.setdefault(name, epoch)
        before, self.map = self.map, newer(self.map, [charter.owners for charter in said.values()])
        moved = [
            new.shard
            for old, new in zip(before.owners, self.map.owners, strict=True)
            if old.database != new.database
        ]
        if moved:
            self.on_moved(moved)

    async def _deal(self, said: Mapping[str, Charter]) -> None:
        """Every node that starts first deals the same cards, and a database that has some takes no others."""
        try:
            cards = first_deal(said, len(self.map.owners))
        except ValueError as error:
            raise StorageUnavailable(str(error)) from error
        charter = Charter(cards.owners, self._own_epochs())
        for name in said:
            try:
                await self.opened[name].learn(charter)
            except StorageFull:
                if self.single is None:
                    raise  # alone it may be read from all the same
        self._note({"": charter} | await self._said())
        self._dealt = True

    async def _teach(self, said: Mapping[str, Charter]) -> None:
        charter = Charter(self.map.owners, self._own_epochs())
        for name, own in said.items():
            lags = bool(own.owners) or self.single is None
            if lags and (tuple(own.owners) != self.map.owners or _differ(own.epochs, charter.epochs)):
                answer = await self.ask(name, lambda database: database.learn(charter))
                if isinstance(answer, StorageError):
                    _log.warning("a database did not learn the shard map", database=name, reason=str(answer))

    def _own_epochs(self) -> dict[str, str]:
        _ = self.epoch
        return {name: database.epoch for name, database in self.opened.items() if database.epoch}

    def get(self, name: str) -> Database:
        """The database of a name. Raises `StorageUnavailable` while it is not open."""
        try:
            return self.opened[name]
        except KeyError:
            reason = self._problems.get(name, "it is not configured here")
            raise StorageUnavailable(f"the database {name} is away: {reason}") from None

    async def ask(
        self,
        name: str,
        ask: Callable[[Database], Awaitable[R]],
        timeout_s: float | None = SCATTER_TIMEOUT_S,
    ) -> R | StorageError:
        """The answer, or why there is none: soon, so that one database that hangs does not keep the others waiting."""
        if timeout_s is not None and name in self._silent:
            return StorageUnavailable(f"the database {name} did not answer a moment ago")
        try:
            async with asyncio.timeout(timeout_s):
                return await ask(self.get(name))
        except TimeoutError:
            if name not in self._silent:
                self._silent[name] = start(self._listen(name))
            return StorageUnavailable(f"the database {name} did not answer within {timeout_s} s")
        except StorageError as error:
            return error

    async def _listen(self, name: str) -> None:
        """Ask a silent database until it says something, be it that it cannot answer."""
        answered = False
        try:
            while not answered:
                await self._clock.sleep(AWAY_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SCATTER_TIMEOUT_S):
                        with contextlib.suppress(StorageError):
                            await self.get(name).charter()
                        answered = True
        finally:
            del self._silent[name]

    async def wait_reload(self, attempt: int) -> None:
        """Load the map anew, before the n-th repetition of a question."""
        if attempt > 1:
            await self._clock.sleep(RETRY_S * 2 ** (attempt - 2))
        await self.reload()


async def _nothing(name: str, database: Database) -> None:
    """Nothing needs to be known of a database that opens."""


def _is_stranger(name: str, own: Charter, epoch: str, known: Mapping[str, str]) -> bool:
    """True of an empty database where the others know one with something in it."""
    return own.empty and not own.owners and known.get(name, epoch) != epoch


async def _charter_of(database: Database) -> Charter:
    return await database.charter()


def _differ(own: Mapping[str, str], all_: Mapping[str, str]) -> bool:
    return any(own.get(name) != epoch for name, epoch in all_.items())
