"""Leases in one hash each, changed by scripts that go by the server's clock.

An epoch is at least the server's milliseconds, and above all that this node has seen of the lease: so it rises also
when the cache was wiped, or its new primary's clock is behind.
"""

import re

from posthouse.cache.base import CacheUnavailable, Lease
from posthouse.cache.engines.redis.asking import run
from posthouse.valkey.deployment import Deployment
from posthouse.valkey.link import Reply
from posthouse.valkey.script import Script

_KEPT_MS = 7 * 86_400_000
"""A lease that nobody has taken for so long is forgotten."""

_EPOCH = re.compile(rb"[0-9]{1,19}")
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: the lease. ARGV: who asks, for how long (ms), the highest epoch the asker knows of, how long to keep (ms).
_TAKE = Script(
    _NOW
    + """
local held = redis.call('HMGET', KEYS[1], 'holder', 'epoch', 'until')
local holder, epoch, ends = held[1] or '', tonumber(held[2] or 0), tonumber(held[3] or 0)
if holder ~= ARGV[1] then
  if ends > now then return {holder, string.format('%d', epoch)} end
  holder, epoch = ARGV[1], math.max(now, epoch + 1, tonumber(ARGV[3]) + 1)
end
local text = string.format('%d', epoch)
redis.call('HSET', KEYS[1], 'holder', holder, 'epoch', text, 'until', string.format('%d', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {holder, text}
"""
)

# KEYS: the lease. ARGV: holder, epoch.
_RELEASE = Script("""
local held = redis.call('HMGET', KEYS[1], 'holder', 'epoch')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'holder', '', 'until', '0')
return 1
""")


class RedisLeases:
    """The port `Leases` on a deployment, which it neither starts nor closes."""

    def __init__(self, deployment: Deployment, prefix: str = "ph") -> None:
        self._deployment = deployment
        self._prefix = prefix
        self._epochs: dict[str, int] = {}

    async def take(self, name: str, holder: str, ttl_s: float) -> Lease:
        arguments = (holder, round(ttl_s * 1000), self._epochs.get(name, 0), _KEPT_MS)
        lease = lease_of(name, await run(self._deployment, _TAKE, ([self._key(name)], arguments)))
        self._epochs[name] = max(lease.epoch, self._epochs.get(name, 0))
        return lease

    async def release(self, lease: Lease) -> bool:
        call = ([self._key(lease.name)], (lease.holder, str(lease.epoch)))
        return bool(await run(self._deployment, _RELEASE, call))

    def _key(self, name: str) -> bytes:
        return f"{self._prefix}:lease:{name}".encode()


def lease_of(name: str, reply: Reply) -> Lease:
    """Who has it and since which epoch, as the cache answers. Raises `CacheUnavailable` when it answers otherwise."""
    match reply:
        case [bytes(holder), bytes(epoch)] if _EPOCH.fullmatch(epoch):
            return Lease(name, holder.decode("utf-8", "replace"), int(epoch))
    raise CacheUnavailable(f"the cache does not say who has the lease {name}")
