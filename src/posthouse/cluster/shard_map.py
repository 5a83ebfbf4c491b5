"""The shard map: which database owns which shard, as far as this node has heard. Pure.

A map is only a hint where to ask: what a database says of its own shards is the truth, and one that is asked for
another's refuses with `Moved`. Of two statements about a shard the one with the higher epoch is the newer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from posthouse.model.ids import shard_of
from posthouse.storage.base import Charter, Owner


@dataclass(frozen=True, slots=True)
class ShardMap:
    """Every shard's owner and its epoch. Only `dealt` and `newer` make one."""

    owners: tuple[Owner, ...]

    def shard(self, app: str, log: str) -> int:
        """The shard that holds a log, or what belongs to the user of an account log."""
        return shard_of(app, log, len(self.owners))

    def owner(self, app: str, log: str) -> str:
        """The name of the database to ask about a log."""
        return self.owners[self.shard(app, log)].database

    def counts(self) -> dict[str, int]:
        """How many shards each database owns; one that owns none is left out."""
        counts: dict[str, int] = {}
        for owner in self.owners:
            counts[owner.database] = counts.get(owner.database, 0) + 1
        return counts


def dealt(names: Sequence[str], shards: int) -> ShardMap:
    """The map of a new system: shards in turns, so that each database has as many as the next, or one more."""
    return ShardMap(tuple(Owner(shard, names[shard % len(names)], 1) for shard in range(shards)))


def newer(known: ShardMap, said: Iterable[Sequence[Owner]]) -> ShardMap:
    """`known`, with whatever of what databases said is newer."""
    owners = list(known.owners)
    for rows in said:
        for row in rows:
            if row.shard < len(owners) and row.epoch > owners[row.shard].epoch:
                owners[row.shard] = row
    return ShardMap(tuple(owners))


def first_deal(charters: Mapping[str, Charter], shards: int) -> ShardMap:
    """Who gets what where nothing has been dealt. Raises `ValueError` when it cannot be told whose the data is.

    A database that was alone until now keeps everything: shards are moved from there, never dealt away.
    """
    filled = [name for name, charter in charters.items() if not charter.empty]
    if len(filled) > 1:
        raise ValueError(
            f"{' and '.join(filled)} hold conversations, but nothing says which shards are whose"
        )
    return dealt(filled or sorted(charters), shards)
