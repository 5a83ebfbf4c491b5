"""Each benchmark runs, small, and reports every key that docs/benchmarks.md explains, with nothing lost on the way."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from posthouse.load.bench.fanout import fanout
from posthouse.load.bench.idle import idle
from posthouse.load.bench.listing import listing
from posthouse.load.bench.send import send
from posthouse.load.bench.startup import startup
from posthouse.load.bench.storm import storm
from posthouse.testing.postgres import LocalPostgres, fresh_database

DOCS = Path(__file__).parents[3] / "docs" / "benchmarks.md"
SMALL = {"bare_connection_kib"}
"""Of as few as here it is less than what a process's memory wavers by, and may come out below nothing."""
WHOLE = {"lost": 0, "duplicated": 0, "reordered": 0, "contradicted": 0, "breaches": []}

ASKED = {
    "fanout": "deliveries_per_s server_cpu_us_per_delivery raw_cpu_us_per_delivery ratio_to_raw p50_ms p99_ms lost",
    "fanout --cluster": "deliveries_per_s nodes_cpu_us_per_delivery ratio_to_one_node p50_ms p99_ms lost",
    "send": "acked_per_s raw_insert_per_s ratio_to_raw fsync_p99_ms ack_p50_ms ack_p99_ms deliver_p99_ms lost"
    " duplicated reordered",
    "idle": "pss_kib_per_session bare_connection_kib",
    "storm": "seconds_until_last_resumed attempts_per_client queries_per_resume server_cpu_ms_per_resume",
}
"""The keys that whoever compares runs relies on."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    with LocalPostgres() as running:
        yield running


def explained(name: str) -> set[str]:
    """The keys in the table of a benchmark's section."""
    section = DOCS.read_text("utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    rows = (row.split("|")[1] for row in section.splitlines() if row.startswith("| `"))
    return {key for row in rows for key in re.findall(r"`([a-z0-9_]+)`", row)}


def check(name: str, result: Mapping[str, object]) -> None:
    """The result has the keys that it must have, the documentation explains all, and no number is absurd."""
    assert result.keys() >= set(ASKED.get(name, "").split()), name
    documented = explained(name.partition(" ")[0])
    assert result.keys() <= documented, result.keys() - documented
    for key, value in result.items():
        if isinstance(value, int | float) and key not in (*WHOLE, *SMALL, "unanswered", "started_afresh"):
            assert value >= 0, (key, value)


async def test_fanout() -> None:
    result = await fanout(members=20, seconds=0.5, runs=1)
    check("fanout", result)
    assert result.items() >= WHOLE.items()


async def test_fanout_over_three_nodes() -> None:
    result = await fanout(cluster=True, members=20, seconds=0.5, runs=1)
    check("fanout --cluster", result)
    assert result.items() >= WHOLE.items()


async def test_send() -> None:
    result = await send(senders=10, conversations=20, seconds=1.0, window=2, runs=1)
    check("send", result)
    assert result.items() >= (WHOLE | {"unanswered": 0}).items()


async def test_send_on_a_primary_with_a_synchronous_replica() -> None:
    result = await send(cluster=True, senders=10, conversations=20, seconds=1.0, window=2, runs=1)
    check("send", result)


async def test_send_on_postgresql(postgres: LocalPostgres) -> None:
    with fresh_database(postgres) as url:
        result = await send(url, senders=10, conversations=20, seconds=1.0, window=2, runs=1)
    check("send", result)
    assert result.items() >= (WHOLE | {"unanswered": 0}).items()
    assert "posthouse_bare" not in postgres.run("psql", "--list", "--tuples-only")


async def test_idle() -> None:
    result = await idle(sessions=100, conversations=3)
    check("idle", result)
    assert result["sessions"] == 100


async def test_storm() -> None:
    result = await storm(sessions=100, conversations=3)
    check("storm", result)
    assert (result["resumed"], result["started_afresh"]) == (100, 0)


async def test_startup() -> None:
    check("startup", await startup(runs=1))


async def test_listing() -> None:
    result = await listing(conversations=5, entries=50, runs=2)
    check("listing", result)
    assert result["conversations"] == 5
