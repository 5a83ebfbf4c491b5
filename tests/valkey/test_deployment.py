"""Deployments: found, followed, and what is wrong with them said in words that help."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.testing.valkey import LocalValkey
from posthouse.testing.valkey_cluster import LocalValkeyCluster
from posthouse.testing.valkey_sentinel import LocalSentinel
from posthouse.valkey.address import Place, parse
from posthouse.valkey.choosing import deployment
from posthouse.valkey.cluster import Cluster, slot_of
from posthouse.valkey.connecting import _check_kind
from posthouse.valkey.link import Command, LinkLimits, Misconfigured, Reply, ReplyError, Unavailable
from posthouse.valkey.sentinel import Sentinel
from posthouse.valkey.server import Server
from tests.valkey.certificate import write_certificate
from tests.valkey.shared import BRISK, MODES, Sites, linked, until


async def trouble_of(url: str) -> Unavailable:
    """Why it does not start."""
    links = deployment(parse(url), limits=BRISK)
    try:
        with pytest.raises(Unavailable) as raised:
            await links.start(0.5)
        return raised.value
    finally:
        await links.close()


@pytest.mark.parametrize("mode", MODES)
async def test_each_kind_is_up_from_its_start_on_and_counts_its_servers(sites: Sites, mode: str) -> None:
    async with linked(sites[mode].url) as links:
        assert links.up
        assert links.statistics()["servers_up"] >= {"alone": 1, "sentinel": 2, "cluster": 3}[mode]
        assert links.statistics()["links_lost"] == 0
        assert await links.link(b"key").ask("PING") == b"PONG"
        assert " up>" in repr(links)
    assert "down" in repr(links)


async def test_without_any_sentinel_the_primary_is_used_as_before(sites: Sites) -> None:
    with sites.broken("sentinel") as site:
        assert isinstance(site, LocalSentinel)
        async with linked(site.url, BRISK) as links:
            for sentinel in site.sentinels:
                sentinel.kill()
            await until(lambda: links.statistics()["servers_up"] == 1)
            assert links.up
            assert await links.link(b"key").ask("PING") == b"PONG"


async def test_what_goes_wrong_is_counted(sites: Sites) -> None:
    with sites.broken("alone") as site:
        assert isinstance(site, LocalValkey)
        async with linked(site.url, LinkLimits(0.2, 1.0, in_flight_bytes_max=1_000)) as links:
            site.freeze()
            waiting = links.link(b"").call([("SET", "a", b"x" * 900)])
            with pytest.raises(Unavailable, match="is behind"):
                _ = links.link(b"").call([("SET", "a", b"x" * 900)])
            with pytest.raises(Unavailable, match="has not answered"):
                await waiting
            await until(lambda: links.statistics()["links_lost"])
            counts = links.statistics()
            assert (counts["overflows"], counts["timeouts"], counts["servers_up"]) == (1, 1, 0)


async def test_a_server_that_is_not_there_is_named() -> None:
    with LocalValkey() as gone:
        url = gone.url
    assert f"127.0.0.1:{gone.port} cannot be reached" in str(await trouble_of(url))
    assert f"127.0.0.1:{gone.port} cannot be reached" in str(
        await trouble_of(f"redis+sentinel://127.0.0.1:{gone.port}/x")
    )
    assert f"127.0.0.1:{gone.port} cannot be reached" in str(
        await trouble_of(f"redis+cluster://127.0.0.1:{gone.port}")
    )


async def test_a_server_of_another_kind_says_how_its_address_begins(sites: Sites) -> None:
    alone, sentinel, cluster = sites["alone"], sites["sentinel"], sites["cluster"]
    assert isinstance(alone, LocalValkey)
    assert isinstance(sentinel, LocalSentinel)
    assert isinstance(cluster, LocalValkeyCluster)
    for url, remedy in (
        (f"redis://127.0.0.1:{cluster.servers[0].port}", "redis+cluster://"),
        (f"redis://127.0.0.1:{sentinel.sentinels[0].port}", "redis+sentinel://"),
        (f"redis+sentinel://127.0.0.1:{alone.port}/x", "begins with redis://"),
        (f"redis+cluster://127.0.0.1:{alone.port}", "begins with redis://"),
        (f"redis+sentinel://127.0.0.1:{sentinel.sentinels[0].port}/other", "no primary called other"),
        (f"redis://127.0.0.1:{sentinel.replicas[0].port}", "is a replica"),
    ):
        trouble = await trouble_of(url)
        assert remedy in str(trouble), url
        assert isinstance(trouble, Misconfigured) or "replica" in str(trouble)


@pytest.mark.parametrize(
    "hello",
    [
        {b"mode": b"sideways", b"version": b"8.0"},
        {b"mode": [], b"version": b"8.0"},
        {b"mode": b"\xff", b"version": b"8.0"},
        {b"mode": b"standalone", b"version": []},
        {b"mode": b"standalone", b"version": b"\xff"},
    ],
    ids=repr,
)
def test_a_greeting_that_cannot_be_understood_is_refused_with_a_sentence(hello: Any) -> None:
    with pytest.raises(Misconfigured, match=r"^cache "):
        _check_kind("cache", hello, "alone")


async def test_a_database_that_does_not_exist_is_refused_with_a_remedy(sites: Sites) -> None:
    trouble = await trouble_of(sites["alone"].url.removesuffix("/0") + "/999")
    assert isinstance(trouble, Misconfigured)
    assert "change the number" in str(trouble)


@pytest.mark.parametrize("kind", [LocalSentinel, LocalValkeyCluster])
async def test_passwords_are_given_to_every_server(kind: type[LocalSentinel | LocalValkeyCluster]) -> None:
    with kind(password="pass word/@") as site:
        async with linked(site.url.replace("pass word/@", "pass%20word%2F%40")) as links:
            assert await links.link(b"key").ask("PING") == b"PONG"
        assert isinstance(await trouble_of(site.url.replace("pass word/@", "wrong")), Misconfigured)


async def test_tls_is_spoken_and_a_server_that_nobody_vouches_for_is_refused(
    sites: Sites, tmp_path: Path
) -> None:
    ca = write_certificate(tmp_path)
    site = sites["alone"]
    assert isinstance(site, LocalValkey)
    async with tls_before(site.port, tmp_path) as port:
        for options in (f"?ca={ca}", "?verify=no"):
            async with linked(f"rediss://127.0.0.1:{port}{options}") as links:
                assert await links.link(b"key").ask("PING") == b"PONG"
        trouble = await trouble_of(f"rediss://127.0.0.1:{port}")
        assert isinstance(trouble, Misconfigured)
        assert "not trusted" in str(trouble)
        trouble = await trouble_of(f"rediss://127.0.0.1:{port}?ca={tmp_path}/missing.pem")
        assert isinstance(trouble, Misconfigured)


@asynccontextmanager
async def tls_before(port: int, folder: Path) -> AsyncIterator[int]:
    """A TLS front for a server that knows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    carrying: list[asyncio.Task[None] | None] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying.append(asyncio.current_task())
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(carry, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*filter(None, carrying))


def test_slots_are_those_of_the_specification() -> None:
    """https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags"""
    assert slot_of(b"123456789") == 0x31C3
    assert slot_of(b"{user1000}.following") == slot_of(b"{user1000}.followers") == slot_of(b"user1000")
    assert slot_of(b"foo{}{bar}") != slot_of(b"bar")
    assert slot_of(b"foo{{bar}}zap") == slot_of(b"{bar")
    assert slot_of(b"foo{bar}{zap}") == slot_of(b"bar")


async def test_a_primary_that_becomes_a_replica_is_not_asked_any_more(sites: Sites) -> None:
    """It would take messages and reach nobody with them."""
    with sites.broken("alone") as site, LocalValkey() as other:
        assert isinstance(site, LocalValkey)
        async with linked(site.url, BRISK) as links:
            site.call("REPLICAOF", "127.0.0.1", other.port)
            await until(lambda: "replica" in str(links.trouble))
            site.call("REPLICAOF", "NO", "ONE")
            await until(lambda: links.up)


class _Told(Cluster):
    """A Cluster whose servers answer as they are told to here."""

    told: Sequence[Any] = ()

    async def _ask_all(self, servers: Iterable[Server], command: Command) -> list[tuple[Server, Reply]]:
        seed = self._seeds[Place("127.0.0.1", 1)]
        return [(seed, answer) for answer in self.told]


async def test_the_map_that_most_servers_agree_on_counts_and_a_server_without_a_host_means_itself() -> None:
    """One that was thawed or cut off still tells of the past."""
    links = _Told(parse("redis+cluster://127.0.0.1:1"), BRISK, SystemClock(), random.Random(1))
    new, old = [[0, 16_383, [b"", 2, b"id"]]], [[0, 16_383, [b"127.0.0.1", 1, b"id"]]]
    answers: list[tuple[list[Any], int]] = [
        ([old], 1), ([old, new, new], 2), ([new, ReplyError("CLUSTERDOWN"), []], 2)
    ]  # fmt: skip
    for told, port in answers:
        links.told = told
        await links._look()
        assert links.server(b"key").place == Place("127.0.0.1", port)
    await links.close()


@pytest.mark.parametrize(
    "told",
    [
        None, 1, [1], [[0, 1]], [[0, 16_383, []]], [[0, 16_384, [b"h", 1]]], [[5, 4, [b"h", 1]]], [[0, 1, [b"h", 0]]],
        [[0, 1, [b"a..b", 1]]], [[0, 1, [b"\xff", 1]]], [[0, 1, [b"h", 1]], "another"],
    ],
    ids=repr,
)  # fmt: skip
async def test_what_is_no_map_is_passed_over(told: Any) -> None:
    links = _Told(parse("redis+cluster://127.0.0.1:1"), BRISK, SystemClock(), random.Random(1))
    links.told = [told, told, [[0, 16_383, [b"127.0.0.1", 2]]]]
    await links._look()
    assert links.server(b"key").place.port == 2
    await links.close()


class _Said(Sentinel):
    """A primary whose Sentinels answer as they are told to here."""

    said: Sequence[Any] = ()

    async def _ask_all(self, servers: Iterable[Server], command: Command) -> list[tuple[Server, Reply]]:
        seed = self._seeds[Place("127.0.0.1", 1)]
        return [(seed, answer) for answer in self.said]


async def test_the_sentinel_that_knows_of_the_latest_failover_counts() -> None:
    links = _Said(parse("redis+sentinel://127.0.0.1:1/x"), BRISK, SystemClock(), random.Random(1))
    links.said = [
        {b"ip": b"127.0.0.1", b"port": b"%d" % port, b"config-epoch": b"%d" % epoch}
        for port, epoch in ((2, 9), (3, 10), (4, 9))
    ]
    links.said += [None, [], {}, {b"ip": b"h", b"port": b"70000", b"config-epoch": b"99"}]
    await links._look()
    assert links.server(b"key").place.port == 3
    links.said = [{b"ip": b"h", b"port": b"1", b"config-epoch": b"x"}]
    await links._look()
    assert links.server(b"key").place.port == 3, "nothing that can be read: all stays as it was"
    await links.close()
