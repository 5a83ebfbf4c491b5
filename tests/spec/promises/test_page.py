"""The page shows each promise, who notices that a safeguard is missing, and figures that were measured, no others."""

import re
from pathlib import Path

import pytest

from posthouse.load.chaos.scenarios import SCENARIOS
from posthouse.testing.mutation.safeguards import SAFEGUARDS
from spec.promises import listed, page, recorded
from spec.promises.making import NOT_RUN
from tests.spec.promises.records import broken, measured, record, simulated, soaked

ROOT = Path(__file__).parents[3]
PROMISES = listed.load(ROOT / "spec/guarantees.toml", ROOT)


def shown(folder: Path) -> str:
    return page.markdown(PROMISES, recorded.load(folder))


def chapter(text: str, title: str) -> str:
    """From a title to the next one of any kind."""
    return re.split(r"^#+ ", text.partition(title)[2], maxsplit=1, flags=re.MULTILINE)[0]


def line(text: str, begin: str) -> str:
    return next(each for each in text.splitlines() if each.startswith(begin))


def caught(name: str, by: str, seeds: int = 0) -> dict[str, object]:
    return {"name": name, "caught_by": by, "seeds": seeds}


def test_without_records_nothing_has_figures(tmp_path: Path) -> None:
    text = shown(tmp_path)
    assert text.count(NOT_RUN) == 5
    assert text.count(": not run") == len(SAFEGUARDS)
    assert text.count("| not run |") == len(SCENARIOS)
    assert "acknowledged:" not in text


def test_every_promise_test_and_place_of_the_list_is_shown(tmp_path: Path) -> None:
    text = shown(tmp_path)
    for promise in PROMISES:
        assert f"## {promise.id} {promise.title}\n\n{promise.text}\n" in text
        for safeguard in promise.safeguard:
            assert all(
                f"`{name}`" in text for name in (*safeguard.tests, *safeguard.without, *safeguard.where)
            )


def test_a_row_without_mutants_says_why(tmp_path: Path) -> None:
    told = line(shown(tmp_path), "| faults come one upon the other")
    assert told.endswith("| none: tried on the whole path: what it stands on is taken out row by row |")


def test_the_same_records_make_the_same_page(tmp_path: Path) -> None:
    record(tmp_path, "sim", simulated())
    record(tmp_path, "chaos", broken("kill-node"))
    assert shown(tmp_path) == shown(tmp_path)


def test_the_simulation_is_told_in_figures_with_the_machine(tmp_path: Path) -> None:
    record(tmp_path, "sim", simulated(), first=0, seeds=10_000)
    told = chapter(shown(tmp_path), "### The simulation")
    assert "| 10,000 (0 to 9999) | 2,400,000 | 2,399,000 | 9,000,000 | 60,000 | 200.0 | 0 |" in told
    assert re.search(
        r"Made 1970-01-01T00:00:00Z with Posthouse \S+ on a machine with \d+ cores and .* GiB", told
    )
    assert "first 0, seeds 10000" in told
    assert "This is a part" not in told


def test_fewer_seeds_do_not_pass_for_all(tmp_path: Path) -> None:
    record(tmp_path, "sim", simulated(seeds=20, failed_seeds=[7, 9]))
    told = chapter(shown(tmp_path), "### The simulation")
    assert "This is a part: `make proof` plays 10,000 seeds." in told
    assert "| **2**: 7, 9 |" in told


def test_seeds_played_in_several_runs_count_together(tmp_path: Path) -> None:
    record(tmp_path, "sim", simulated(first=0, seeds=5_000), simulated(first=5_000, seeds=5_000))
    assert "This is a part" not in chapter(shown(tmp_path), "### The simulation")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (caught("find-repeated-sends", "simulation", 1), "the simulation, after 1 seed |"),
        (caught("find-repeated-sends", "simulation", 12), "the simulation, after 12 seeds |"),
        (caught("find-repeated-sends", "test_full"), "`test_full` |"),
        (caught("find-repeated-sends", ""), "**nobody** |"),
    ],
)
def test_who_noticed_stands_beside_the_safeguard(tmp_path: Path, row: dict[str, object], told: str) -> None:
    record(tmp_path, "mutants", row)
    assert line(shown(tmp_path), "| a repeated send is answered").endswith(
        f"`find-repeated-sends` (a send that is repeated after a lost ack is written twice): {told}"
    )


def test_some_safeguards_do_not_pass_for_all(tmp_path: Path) -> None:
    gone = caught("of-another-release", "test_full")
    record(
        tmp_path,
        "mutants",
        caught("find-repeated-sends", "simulation", 1),
        caught("lock-in-one-order", ""),
        gone,
    )
    told = chapter(shown(tmp_path), "### Safeguards taken out")
    count = len(SAFEGUARDS)
    assert f"1 of {count} were noticed, 1 were not, {count - 2} were not run." in told


def test_rows_of_several_runs_each_name_their_own(tmp_path: Path) -> None:
    record(tmp_path, "mutants", caught("find-repeated-sends", ""), caught("lock-in-one-order", ""), seeds=300)
    record(tmp_path, "mutants", caught("lock-in-one-order", ""), at_ms=1000, seeds=20)
    told = chapter(shown(tmp_path), "### Safeguards taken out").splitlines()
    first, second = (each for each in told if each.startswith("- Made "))
    assert first.endswith("seeds 300: find-repeated-sends.")
    assert second.endswith("seeds 20: lock-in-one-order.")


def test_scenarios_stand_under_their_promise_with_pause_and_budget(tmp_path: Path) -> None:
    record(tmp_path, "chaos", broken("kill-node"), broken("random", budget_s=8.0))
    text = shown(tmp_path)
    node = "| `kill-node`: A node is killed | pass | 3 | 12,345 | 0 | 0 | 0 | 0.21 s | 0.9 s | 2 s | 1.44 s |"
    assert node in chapter(text, "## G5")
    assert line(chapter(text, "## G6"), "| `random`").endswith(
        "| pass | 3 | 12,345 | 0 | 0 | 0 | 0.21 s | 0.9 s | 8 s | 1.44 s |"
    )


def test_what_did_not_hold_says_why_and_what_was_skipped_has_no_figures(tmp_path: Path) -> None:
    failed = broken("kill-node", verdict="fail", lost=2, breaches=["G1 a/5: it is | not in the log"])
    record(tmp_path, "chaos", failed, broken("slow-disk", verdict="skipped", reason="there is no strace"))
    text = shown(tmp_path)
    assert "| **fail**: G1 a/5: it is \\| not in the log | 3 |" in text
    assert re.search(r"\| skipped: there is no strace (\|  ){9}\|", text)
    assert (
        f"0 of {len(SCENARIOS)} scenarios held, 1 did not, 1 were skipped, {len(SCENARIOS) - 2} were not run."
        in text
    )
    assert "2 lost, 0 duplicated, 0 reordered" in text


@pytest.mark.parametrize(
    ("row", "part"),
    [
        (soaked(), False),
        (soaked(minutes=12.0), True),
        (soaked(database="sqlite", nodes=1), True),
    ],
)
def test_a_shorter_soak_or_one_on_one_node_is_a_part(
    tmp_path: Path, row: dict[str, object], part: bool
) -> None:
    record(tmp_path, "soak", row)
    told = chapter(shown(tmp_path), "### Soak")
    assert ("This is a part" in told) is part
    assert "| 200,000 | 2,000,000 | 0 | 0 | 0 | 7 |" in told


def test_benchmarks_are_told_with_their_limits_and_what_was_not_run_says_so(tmp_path: Path) -> None:
    record(tmp_path, "bench", measured("fanout"))
    record(
        tmp_path, "bench", measured("send", 0.375, reached=False, lost=3), measured("fanout --set members=9")
    )
    told = chapter(shown(tmp_path), "### Benchmarks")
    assert "| `fanout` | `ratio_to_raw` | 1.2 | at most 1.3 | yes |" in told
    assert "| `send` | `ratio_to_raw` | 0.375 | at most 1.3 | **no** |" in told
    assert "**`send`: lost 3.**" in told
    assert "| `fanout --cluster` | `ratio_to_one_node` | not run | at most 1.5 |  |" in told
    assert (
        "| `send --database postgresql` | `deliver_p99_ms` | not run | at most `deliver_p99_ms_max` |  |"
        in told
    )
    assert "members=9" not in told
    assert re.search(r"- Made \S+ with Posthouse \S+ on a machine with \d+ cores .*\): `fanout`\.", told)
