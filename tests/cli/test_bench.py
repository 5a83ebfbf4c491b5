"""`posthouse bench`: its arguments and what it says; the benchmarks themselves are tested in tests/load/bench."""

import json
from pathlib import Path

import pytest

from posthouse.cli.failure import Exit
from spec.promises import recorded
from tests.cli.running import run


@pytest.fixture
def fanout(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A benchmark that says what it was given."""
    result: dict[str, object] = {"ratio_to_raw": 1.25, "lost": 0}

    async def fanout(database: str, *, members: int = 2_000, seconds: float = 10.0) -> dict[str, object]:
        return {"database": database, "members": members, "seconds": seconds, **result}

    monkeypatch.setattr("posthouse.load.bench.fanout.fanout", fanout)
    return result


def test_a_result_is_a_table_for_people_and_one_object_for_programs(fanout: dict[str, object]) -> None:
    assert run("bench", "fanout").stdout.splitlines() == [
        "database      sqlite",
        "members       2,000",
        "seconds       10.0",
        "ratio_to_raw  1.25",
        "lost          0",
        "limit         ratio_to_raw at most 1.3: reached",
    ]
    told = json.loads(run("bench", "fanout", "--json").stdout)
    assert told["members"] == 2_000
    assert [each["reached"] for each in told["limits"]] == [True]


def test_a_limit_that_is_not_reached_is_told_and_recorded_and_is_no_error(
    fanout: dict[str, object], tmp_path: Path
) -> None:
    fanout["ratio_to_raw"] = 1.4
    done = run("bench", "fanout", "--record", str(tmp_path / "bench.json"))
    assert done.exit_code == Exit.OK
    assert "ratio_to_raw at most 1.3: not reached" in done.stdout
    (row,) = recorded.rows(recorded.load(tmp_path).bench)
    assert (row.benchmark, row.limits[0].value, row.limits[0].reached) == ("fanout", 1.4, False)


def test_variants_are_kept_beside_each_other_and_one_that_lost_messages_too(
    fanout: dict[str, object], tmp_path: Path
) -> None:
    command = ("bench", "fanout", "--record", str(tmp_path / "bench.json"))
    run(*command)
    run(*command, "--set", "members=20")
    fanout["lost"] = 3
    assert run(*command).exit_code == Exit.CHECKS_FAILED
    rows = recorded.rows(recorded.load(tmp_path).bench)
    assert {row.benchmark: row.broken for row in rows} == {
        "fanout --set members=20": {},
        "fanout": {"lost": 3},
    }


def test_database_and_sizes_can_be_chosen(fanout: dict[str, object]) -> None:
    chosen = ("--database", "postgresql", "--set", "members=20", "--set", "seconds=0.5")
    said = json.loads(run("bench", "fanout", *chosen, "--json").stdout)
    assert (said["database"], said["members"], said["seconds"]) == ("postgresql", 20, 0.5)


def test_lost_messages_have_an_exit_code_of_their_own(fanout: dict[str, object]) -> None:
    fanout["lost"] = 1
    result = run("bench", "fanout")
    assert result.exit_code == Exit.CHECKS_FAILED
    assert "lost          1" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fan-out",), "did you mean fanout?"),
        (("zzz",), "fanout, send, idle, storm, startup, listing"),
        (("fanout", "--set", "member=5"), "did you mean members?"),
        (("fanout", "--set", "members=many"), "is no number"),
        (("startup", "--cluster"), "startup does not measure a cluster"),
    ],
)
def test_unknown_things_suggest_the_nearest(
    arguments: tuple[str, ...], said: str, fanout: dict[str, object]
) -> None:
    result = run("bench", *arguments)
    assert result.exit_code == Exit.USAGE
    assert said in result.stderr
