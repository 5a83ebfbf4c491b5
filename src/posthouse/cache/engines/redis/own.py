"""The routes that one gateway of this process has registered: what should stand in the cache, and what does.

Beside each set stands its owner: the gateway's incarnation and the number of its last change, which every change
compares. So writes that a failover has lost are found by the next `keep`, and a node that was thawed changes nothing
of its successor's. One task at a time changes the routes of a gateway.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from posthouse.cache.base import CacheUnavailable, LogKey
from posthouse.cache.engines.redis import buckets
from posthouse.cache.engines.redis.asking import run_each
from posthouse.valkey.deployment import Deployment
from posthouse.valkey.link import Reply, Unavailable
from posthouse.valkey.script import Call, Script

T = TypeVar("T")

TTL_MS = 15_000
MEMBERS_MAX = 1_000
"""Members in one call of a script, which holds up the server for about half a millisecond."""
BUILT_TOGETHER_MAX = 4
"""Buckets written anew at once: what is encoded for them lies in memory meanwhile."""

# KEYS of all: the set, its owner. Numbers of changes are never used twice by one incarnation.

# ARGV: incarnation, number, ttl in ms, members of the new set. -1: a newer incarnation owns it; 0: this call comes
# late, from a link that was given up.
_BUILD = Script("""
local incarnation, number = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%d+)$')
if incarnation then
  if tonumber(incarnation) > tonumber(ARGV[1]) then return -1 end
  if incarnation == ARGV[1] and tonumber(number) >= tonumber(ARGV[2]) then return 0 end
end
redis.call('UNLINK', KEYS[1])
redis.call('SADD', KEYS[1], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1
""")

# ARGV: the owner that is expected, the new one, SADD or SREM, members. 0: something else stands there.
_CHANGE = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call(ARGV[3], KEYS[1], unpack(ARGV, 4))
redis.call('SET', KEYS[2], ARGV[2], 'KEEPTTL')
return 1
""")

# ARGV: the owner that is expected, ttl in ms, the marker. 0: something else stands there, or not all of it.
_KEEP = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] or redis.call('SISMEMBER', KEYS[1], ARGV[3]) == 0 then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
""")


class _Bucket:
    """`keys` are the very tuples that the gateway holds. `stands`: the cache has all of them, for all we know.
    `lost`: it did not for a while, and the gateway has not been told yet."""

    __slots__ = ("change", "keys", "lost", "names", "stands")

    def __init__(self, names: list[bytes]) -> None:
        self.names = names
        self.keys: set[LogKey] = set()
        self.change = 0
        self.stands = False
        self.lost = False


class OwnRoutes:
    """What `RedisRoutes` keeps for one gateway."""

    def __init__(self, deployment: Deployment, prefix: str, gateway: str, incarnation: int) -> None:
        self._deployment = deployment
        self._gateway = gateway
        self._incarnation = incarnation
        self._turn = asyncio.Lock()
        self._buckets = [
            _Bucket([buckets.set_key(prefix, number, gateway), buckets.owner_key(prefix, number, gateway)])
            for number in range(buckets.BUCKETS)
        ]

    async def register(self, keys: Sequence[LogKey]) -> None:
        """Raises `CacheUnavailable` when not all of them certainly stand; then `keep` sees to it."""
        async with self._turn:
            changes = []
            for number, own in buckets.by_bucket(keys).items():
                bucket = self._buckets[number]
                added = [key for key in own if key not in bucket.keys]
                bucket.keys.update(added)
                if added or not bucket.stands:
                    changes.append((bucket, added))
            await self._change("SADD", changes)
            await self._build([bucket for bucket, _ in changes if not bucket.stands])

    async def unregister(self, keys: Sequence[LogKey]) -> None:
        """Never raises: what did not succeed is seen to by `keep`."""
        async with self._turn:
            changes = []
            for number, own in buckets.by_bucket(keys).items():
                bucket = self._buckets[number]
                removed = [key for key in own if key in bucket.keys]
                bucket.keys.difference_update(removed)
                if removed:
                    changes.append((bucket, removed))
            await self._change("SREM", changes)

    async def keep(self) -> Sequence[LogKey]:
        """Puts back what is missing, and returns it. Raises `CacheUnavailable` when not all could be looked at."""
        async with self._turn:
            trouble = await self._look()
            missing = [bucket for bucket in self._buckets if not bucket.stands]
            for bucket in missing:
                bucket.lost = True
            await self._build(missing)
            if trouble is not None:
                raise CacheUnavailable(str(trouble))
            back = [key for bucket in self._buckets if bucket.lost for key in bucket.keys]
            for bucket in self._buckets:
                bucket.lost = False
            return back

    async def forget(self) -> None:
        """Leave sets that are whole and empty, until they expire. Never raises."""
        async with self._turn:
            for bucket in self._buckets:
                bucket.keys.clear()
            try:
                await self._build(self._buckets)
            except CacheUnavailable:
                return  # they end with their time to live

    # Inside; all with the turn ------------------------------------------------------------------------------------

    async def _look(self) -> Exception | None:
        """Prolong what stands, and find out what does not. What cannot be looked at is taken to stand as before; then
        the cause is returned."""
        standing = [bucket for bucket in self._buckets if bucket.stands]
        calls = [(bucket.names, (self._owner(bucket), TTL_MS, buckets.MARKER)) for bucket in standing]
        replies = await run_each(self._deployment, _KEEP, calls)
        for bucket, reply in zip(standing, replies, strict=True):
            bucket.stands = reply != 0
        return next((reply for reply in replies if isinstance(reply, Exception)), None)

    async def _change(self, verb: str, changes: Sequence[tuple[_Bucket, list[LogKey]]]) -> None:
        """Bring changes to sets that stand. A set for which that fails stands no more."""
        calls: list[Call] = []
        changed: list[_Bucket] = []
        for bucket, keys in changes:
            for chunk in _chunks(keys) if bucket.stands else ():
                calls.append(self._change_call(bucket, verb, map(buckets.member, chunk)))
                changed.append(bucket)
        replies = await run_each(self._deployment, _CHANGE, calls) if calls else []
        for bucket, reply in zip(changed, replies, strict=True):
            if reply != 1:
                bucket.stands = False
                bucket.lost = True

    async def _build(self, wanted: Sequence[_Bucket]) -> None:
        """Write these sets anew, as far as their servers are there. Raises `CacheUnavailable` when one does not stand
        then."""
        trouble: CacheUnavailable | None = None
        for start in range(0, len(wanted), BUILT_TOGETHER_MAX):
            group = wanted[start : start + BUILT_TOGETHER_MAX]
            for bucket in group:
                bucket.stands = False
            reached = [bucket for bucket in group if self._can_be_reached(bucket)]
            try:
                if reached:
                    await self._build_group(reached)
            except CacheUnavailable as error:
                trouble = error
        if any(not bucket.stands for bucket in wanted):
            raise trouble or CacheUnavailable(
                str(self._deployment.trouble or "a server was away for a moment")
            )

    def _can_be_reached(self, bucket: _Bucket) -> bool:
        """Asked before the work of encoding."""
        try:
            self._deployment.link(bucket.names[0])
        except Unavailable:
            return False
        return True

    async def _build_group(self, group: Sequence[_Bucket]) -> None:
        """The marker comes with the last members."""
        members = [[*map(buckets.member, bucket.keys), buckets.MARKER] for bucket in group]
        calls = [
            self._build_call(bucket, own[:MEMBERS_MAX]) for bucket, own in zip(group, members, strict=True)
        ]
        replies = await run_each(self._deployment, _BUILD, calls)
        if -1 in replies:
            raise CacheUnavailable(f"a newer start of {self._gateway} has taken over its routes")
        calls = [
            self._change_call(bucket, "SADD", chunk)
            for bucket, own in zip(group, members, strict=True)
            for chunk in _chunks(own[MEMBERS_MAX:])
        ]
        if not any(isinstance(reply, Exception) for reply in replies) and calls:
            replies += await run_each(self._deployment, _CHANGE, calls)
        _raise_first(replies)
        if any(reply != 1 for reply in replies):
            raise CacheUnavailable(f"the routes of {self._gateway} were changed by somebody else meanwhile")
        for bucket in group:
            bucket.stands = True

    def _build_call(self, bucket: _Bucket, members: Iterable[bytes]) -> Call:
        bucket.change += 1
        return bucket.names, (self._incarnation, bucket.change, TTL_MS, *members)

    def _change_call(self, bucket: _Bucket, verb: str, members: Iterable[bytes]) -> Call:
        before = self._owner(bucket)
        bucket.change += 1
        return bucket.names, (before, self._owner(bucket), verb, *members)

    def _owner(self, bucket: _Bucket) -> str:
        return f"{self._incarnation} {bucket.change}"


def _raise_first(replies: Sequence[Reply]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise CacheUnavailable(str(reply))


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), MEMBERS_MAX):
        yield items[start : start + MEMBERS_MAX]
