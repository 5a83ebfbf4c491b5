"""Fuzzes what the cache answers about leases and nodes: what was asked, or the port's own error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.fuzz_valkey_replies import WORDS as RESP_WORDS, replies
from fuzz.loop import Fuzzer, main
from posthouse.cache.base import CacheUnavailable
from posthouse.cache.engines.redis.leases import lease_of
from posthouse.cache.engines.redis.nodes import records_of
from posthouse.cluster.snapshot import NOBODY, snapshot_of
from posthouse.valkey.link import Reply


def check(data: bytes) -> None:
    for reply in replies(data):
        _check_lease(reply)
        _check_nodes(reply)


def _check_lease(reply: Reply) -> None:
    try:
        lease = lease_of("repair", reply)
    except CacheUnavailable:
        return
    assert lease.name == "repair"
    assert lease.epoch >= 0


def _check_nodes(reply: Reply) -> None:
    try:
        records = records_of(reply)
    except CacheUnavailable:
        return
    assert [record.node for record in records] == sorted(record.node for record in records)
    assert all(record.silent_s >= 0 for record in records)
    snapshot_of(NOBODY, records, 1_000.0)


SEEDS = [
    b"*2\r\n$2\r\nn1\r\n$13\r\n1700000000000\r\n",
    b"*2\r\n$0\r\n\r\n$1\r\n0\r\n",
    b"*2\r\n*4\r\n$2\r\nn2\r\n:7\r\n:250\r\n$2\r\n{}\r\n*4\r\n$2\r\nn1\r\n:1\r\n:0\r\n$0\r\n\r\n",
    b"*0\r\n",
    b"_\r\n",
    b":1\r\n",
]
WORDS = [
    *RESP_WORDS,
    b"$1\r\n\xff\r\n",
    b":-1\r\n",
    b":9223372036854775807\r\n",
    b"$2\r\n-1\r\n",
    b"*4\r\n",
    b"*2\r\n",
]

MODULES = ("posthouse.cache.engines.redis.leases", "posthouse.cache.engines.redis.nodes")
FUZZER = Fuzzer("cache_answers", check, MODULES, SEEDS, WORDS, size_max=5_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
