"""The register of nodes: two hashes in one slot, one of lines that scripts can read, one of reports."""

from posthouse.cache.base import CacheUnavailable, NodeRecord
from posthouse.cache.engines.redis.asking import run
from posthouse.model.ids import INTEGER_MAX
from posthouse.valkey.deployment import Deployment
from posthouse.valkey.link import Reply
from posthouse.valkey.script import Script

# KEYS: lines "incarnation said until" by node, reports by node.
_READ = r"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function read(line)
  if not line then return nil end
  local incarnation, said, ends = string.match(line, '^(%d+) (%d+) (%d+)$')
  if tonumber(ends) <= now then return nil end
  return tonumber(incarnation), tonumber(said)
end
"""

# ARGV: node, incarnation, ttl in ms, report.
_ANNOUNCE = Script(
    _READ
    + """
local known = read(redis.call('HGET', KEYS[1], ARGV[1]))
if known and known > tonumber(ARGV[2]) then return 0 end
local line = string.format('%s %d %d', ARGV[2], now, now + ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], line)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
return 1
"""
)

# ARGV: node, incarnation.
_RETRACT = Script(
    _READ
    + """
if read(redis.call('HGET', KEYS[1], ARGV[1])) ~= tonumber(ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
"""
)

_ALL = Script(
    _READ
    + """
local found = {}
local lines = redis.call('HGETALL', KEYS[1])
for place = 1, #lines, 2 do
  local node = lines[place]
  local incarnation, said = read(lines[place + 1])
  if incarnation then
    table.insert(found, {node, incarnation, math.max(0, now - said), redis.call('HGET', KEYS[2], node) or ''})
  else
    redis.call('HDEL', KEYS[1], node)
    redis.call('HDEL', KEYS[2], node)
  end
end
return found
"""
)


class RedisNodes:
    """The port `Nodes` on a deployment, which it neither starts nor closes."""

    def __init__(self, deployment: Deployment, prefix: str = "ph") -> None:
        self._deployment = deployment
        self._keys = [f"{prefix}:{{nodes}}:lines".encode(), f"{prefix}:{{nodes}}:reports".encode()]

    async def announce(self, node: str, incarnation: int, report: bytes, ttl_s: float) -> bool:
        arguments = (node, incarnation, round(ttl_s * 1000), report)
        return bool(await run(self._deployment, _ANNOUNCE, (self._keys, arguments)))

    async def retract(self, node: str, incarnation: int) -> None:
        try:
            await run(self._deployment, _RETRACT, (self._keys, (node, incarnation)))
        except CacheUnavailable:
            return  # it ends with its time to live

    async def all(self) -> list[NodeRecord]:
        found = await run(self._deployment, _ALL, (self._keys, ()))
        return records_of(found)


def records_of(reply: Reply) -> list[NodeRecord]:
    """The nodes by name, as the cache answers. Raises `CacheUnavailable` when it answers otherwise."""
    if not isinstance(reply, list):
        raise CacheUnavailable("the cache does not say which nodes there are")
    return sorted(map(_record, reply), key=lambda record: record.node)


def _record(told: Reply) -> NodeRecord:
    match told:
        case [bytes(node), int(incarnation), int(silent_ms), bytes(report)] if 0 <= silent_ms <= INTEGER_MAX:
            return NodeRecord(node.decode("utf-8", "replace"), incarnation, silent_ms / 1000, report)
    raise CacheUnavailable("what the cache says of a node cannot be read")
