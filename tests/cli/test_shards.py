"""`posthouse shards`: asked of real databases, as an operator does."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.testing.postgres import LocalPostgres, shared_postgres
from tests.cli.running import run
from tests.storage.engines.postgres.pair import node_on, two_databases


@pytest.fixture(scope="module")
def server() -> LocalPostgres:
    return shared_postgres()


@pytest.fixture
def file(server: LocalPostgres, tmp_path: Path) -> Iterator[Path]:
    """A configuration with two databases whose shards have been dealt."""
    with two_databases([server]) as dsns:
        asyncio.run(_deal(dsns))
        file = tmp_path / "posthouse.toml"
        file.write_text("".join(f'[databases.{name}]\nurl = "{dsn}"\n' for name, dsn in dsns.items()))
        yield file


async def _deal(dsns: dict[str, str]) -> None:
    async with node_on(dsns):
        pass


def _listed(file: Path) -> dict[str, list[int]]:
    lines = run("shards", "list", "--config", str(file), "--json").stdout.splitlines()
    return {each["database"]: each["shards"] for each in map(json.loads, lines)}


def test_shards_are_dealt_evenly_and_listed(file: Path) -> None:
    assert _listed(file) == {"a": list(range(0, 64, 2)), "b": list(range(1, 64, 2))}
    assert "a: 32 shards: 0, 2, 4," in run("shards", "list", "--config", str(file)).stdout


def test_a_move_says_how_long_writes_were_held_up(file: Path) -> None:
    """And run again, it has nothing to do."""
    result = run("shards", "move", "0-2", "--to", "b", "--config", str(file), "--wait", "1", "--json")
    moves = list(map(json.loads, result.stdout.splitlines()))
    assert [(each["shard"], each["from"], each["moved"]) for each in moves] == [
        (0, "a", True), (1, "b", True), (2, "a", True),
    ]  # fmt: skip
    assert all(0 < each["paused_ms"] < 1000 for each in moves if each["from"] == "a")
    assert {0, 1, 2} <= set(_listed(file)["b"])
    again = run("shards", "move", "0", "--to", "b", "--config", str(file), "--wait", "0")
    assert "shard 0 is in b already" in again.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("0", "--to", "c"), "there is no database 'c'"),
        (("64", "--to", "b"), "there is no shard 64"),
        (("x", "--to", "b"), "neither a shard's number nor a range"),
    ],
)
def test_what_makes_no_sense_is_refused(file: Path, args: tuple[str, ...], words: str) -> None:
    result = run("shards", "move", *args, "--config", str(file))
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = run("shards", "list", "--config", str(tmp_path / "none.toml"))
    assert result.exit_code == 1
    assert "none.toml" in result.stderr


def test_one_database_has_nowhere_to_move_to(tmp_path: Path) -> None:
    file = tmp_path / "posthouse.toml"
    file.write_text(f'[data]\nfolder = "{tmp_path}"\n')
    result = run("shards", "move", "0", "--to", "main", "--config", str(file))
    assert result.exit_code == 2
    assert "one database only" in result.stderr
