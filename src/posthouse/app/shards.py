"""Where the shards lie, and moving them: what `posthouse shards` does, with the databases that a configuration names.

No node is asked: the databases know. Nodes hear of a move when they are refused, or when they look at the map again.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from posthouse.app.config.values import Config
from posthouse.app.databases import databases
from posthouse.cluster.databases import Databases
from posthouse.kit.clock import Clock
from posthouse.storage.base import StorageError, StorageUnavailable

CLEAR_POLL_S = 0.5


class CannotMove(Exception):
    """What was asked for makes no sense here. The message says what would."""


@dataclass(frozen=True, slots=True)
class Place:
    """A shard's owner. `leaving` rows of it are still in these databases."""

    shard: int
    database: str
    epoch: int
    leaving: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """What came of moving one shard. `paused_ms`: how long writes to it were refused; `reason` says why it failed."""

    shard: int
    source: str
    target: str
    done: bool
    paused_ms: float = 0.0
    rows: int = 0
    passes: int = 0
    freezes: int = 0
    reason: str = ""


@asynccontextmanager
async def opened(config: Config, clock: Clock) -> AsyncIterator[Databases]:
    """The databases of a configuration, as many as can be reached. Raises `StorageError` when none can."""
    several = Databases(databases(config, clock), clock)
    try:
        await several.open()
        yield several
    finally:
        await several.close()


async def places(several: Databases) -> list[Place]:
    """Every shard's place, as the databases say that can be reached."""
    left = await _left(several)
    return [
        Place(shard, database, epoch, tuple(name for name, shards in left.items() if shard in shards))
        for shard, database, epoch in several.map.owners
    ]


async def move(
    several: Databases, shards: Sequence[int], to: str, clock: Clock, tell: Callable[[Move], None]
) -> list[Move]:
    """Move shards one after another; one that fails keeps none of the others. Raises `CannotMove`."""
    _check(several, shards, to)
    moves = []
    for shard in shards:
        moves.append(await _move(several, shard, to, clock))
        tell(moves[-1])
    await several.reload()
    return moves


async def clear(several: Databases, clock: Clock, wait_s: float) -> dict[str, dict[int, list[str]]]:
    """Delete what shards have left behind, as soon as all readers of the feed have passed it, waiting so long for them.

    What had to stay, by database and shard, with the readers that are behind.
    """
    give_up_at = clock.monotonic() + wait_s
    while True:
        stays = {name: await _clear(several, name, shards) for name, shards in (await _left(several)).items()}
        stays = {name: own for name, own in stays.items() if own}
        if not stays or clock.monotonic() >= give_up_at:
            return stays
        await clock.sleep(CLEAR_POLL_S)


def _check(several: Databases, shards: Sequence[int], to: str) -> None:
    if to not in several.named:
        raise CannotMove(f"there is no database {to!r}: the configuration names {', '.join(several.named)}")
    if several.single is not None:
        raise CannotMove("there is one database only: name the others as [databases.NAME]")
    count = len(several.map.owners)
    for shard in shards:
        if not 0 <= shard < count:
            raise CannotMove(f"there is no shard {shard}: they are 0 to {count - 1}")


async def _move(several: Databases, shard: int, to: str, clock: Clock) -> Move:
    from posthouse.storage.engines.postgres.database import PostgresDatabase
    from posthouse.storage.engines.postgres.moving import ShardMove

    await several.reload()  # completes what another mover has left half-way
    owner = several.map.owners[shard]
    if owner.database == to:
        return Move(shard, to, to, done=True)
    try:
        source, target = several.get(owner.database), several.get(to)
        assert isinstance(source, PostgresDatabase)
        assert isinstance(target, PostgresDatabase)
        result = await ShardMove(shard, source, target, owner.epoch, secrets.token_hex(8), clock).run()
    except StorageError as error:
        return Move(shard, owner.database, to, done=False, reason=str(error))
    return Move(shard, owner.database, to, True, result.paused_ms, result.rows, result.passes, result.freezes)


async def _left(several: Databases) -> Mapping[str, list[int]]:
    from posthouse.storage.engines.postgres import moving
    from posthouse.storage.engines.postgres.database import PostgresDatabase

    return {
        name: await moving.left(database)
        for name, database in several.opened.items()
        if isinstance(database, PostgresDatabase)
    }


async def _clear(several: Databases, name: str, shards: Sequence[int]) -> dict[int, list[str]]:
    from posthouse.storage.engines.postgres import moving
    from posthouse.storage.engines.postgres.database import PostgresDatabase

    database = several.get(name)
    assert isinstance(database, PostgresDatabase)
    stays: dict[int, list[str]] = {}
    for shard in shards:
        readers = await moving.behind(database, shard) or await _not_owned(several, shard)
        if readers:
            stays[shard] = readers
        else:
            await moving.clear(database, shard)
    return stays


async def _not_owned(several: Databases, shard: int) -> list[str]:
    """Nothing is deleted before the new owner itself says that the shard is its own."""
    owner = several.map.owners[shard]
    try:
        charter = await several.get(owner.database).charter()
    except StorageUnavailable:
        return [f"{owner.database}, which cannot be asked"]
    return [] if owner in charter.owners else [f"{owner.database}, which has not taken it yet"]
