"""Fuzzes what servers say of themselves and of each other: a kind, a map, a primary, or a clear refusal."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from random import Random

from fuzz.fuzz_valkey_replies import WORDS as RESP_WORDS, replies
from fuzz.loop import Fuzzer, main
from posthouse.kit.clock import ManualClock
from posthouse.valkey import cluster, connecting, sentinel
from posthouse.valkey.address import Place, parse
from posthouse.valkey.connecting import Access
from posthouse.valkey.link import LinkCounts, LinkLimits, Reply, Unavailable
from posthouse.valkey.server import Server

_ADDRESS = parse("redis+cluster://asked:7000")
_ACCESS = Access(_ADDRESS.login, 0, None, "cluster", LinkLimits(), ManualClock(), LinkCounts())
_ASKED = Server(Place("asked", 7000), _ACCESS, Random(1))


def check(data: bytes) -> None:
    for reply in replies(data):
        _check_map(reply)
        _check_primary(reply)
        for mode in connecting._SCHEME:
            try:
                connecting._check_kind("cache", reply, mode)
            except Unavailable as refusal:
                assert len(str(refusal)) < 300


def _check_map(reply: Reply) -> None:
    found = cluster._view(_ASKED, reply)
    assert list(found) == sorted(found)
    for first, last, place in found:
        assert 0 <= first <= last < cluster.SLOTS
        _check_place(place)


def _check_primary(reply: Reply) -> None:
    told = sentinel._told(reply)
    if told is not None:
        assert told[0] >= 0
        _check_place(told[1])


def _check_place(place: Place) -> None:
    """One that can be asked for."""
    assert 0 < place.port < 65_536
    assert place.host.encode("idna")


def _map(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"%%%d\r\n" % len(pairs) + b"".join(
        b"$%d\r\n%s\r\n" % (len(each), each) for pair in pairs for each in pair
    )


SEEDS = [
    _map((b"mode", b"standalone"), (b"version", b"8.0.1"), (b"role", b"master")),
    _map((b"mode", b"cluster"), (b"version", b"7.2")),
    _map((b"mode", b"sentinel"), (b"version", b"6.2.0")),
    _map((b"mode", b"sideways"), (b"version", b"seven")),
    _map((b"ip", b"10.0.0.1"), (b"port", b"6379"), (b"config-epoch", b"7")),
    _map((b"ip", b"::1"), (b"port", b"0"), (b"config-epoch", b"-1")),
    b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$4\r\nhost\r\n:7000\r\n$2\r\nid\r\n",
    b"*2\r\n*3\r\n:0\r\n:99\r\n*2\r\n_\r\n:7000\r\n*4\r\n:100\r\n:16383\r\n*2\r\n$1\r\n?\r\n:7001\r\n*2\r\n$1\r\nr\r\n:1\r\n",
    b"-CLUSTERDOWN no\r\n",
]
WORDS = [
    *RESP_WORDS, b"$4\r\nmode\r\n", b"$7\r\nversion\r\n", b"$2\r\nip\r\n", b"$4\r\nport\r\n",
    b"$12\r\nconfig-epoch\r\n",
    b":16384\r\n", b":-1\r\n", b":70000\r\n", b"$3\r\na..\r\n", b"$1\r\n\xff\r\n", b"$1\r\n\x00\r\n",
    b"$10\r\nstandalone\r\n",
]  # fmt: skip

MODULES = (
    "posthouse.valkey.cluster",
    "posthouse.valkey.sentinel",
    "posthouse.valkey.connecting",
    "posthouse.valkey.address",
)
FUZZER = Fuzzer("topology", check, MODULES, SEEDS, WORDS, size_max=5_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
