"""`make proof` runs every part whatever becomes of the others, and says in the end who failed."""

import os
import subprocess
from pathlib import Path

import pytest

from posthouse.load.bench.limits import LIMITS
from tests.tidy.source import ROOT

PARTS = ["sim", "mutants", "chaos", "soak", "bench"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Programs that only note how they were called; `posthouse` fails with what is in the file `code-NAME`."""
    (tmp_path / "stamp").touch()
    for name in ("posthouse", "python"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >>"{tmp_path}/calls"\ncode="{tmp_path}/code-$1"\n'
            'test ! -f "$code" || exit "$(cat "$code")"\n'
        )
        program.chmod(0o755)
    return tmp_path


def make(site: Path, *arguments: str) -> tuple[int, list[str], str]:
    """The exit code, the calls, and what was said on standard error."""
    settings = (f"BIN={site}", f"STAMP={site}/stamp", "PROOF=proof")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    done = subprocess.run(
        ("make", *arguments, *settings),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (site / "calls").read_text().splitlines(), done.stderr


def test_all_parts_are_run_in_full_and_the_page_is_generated(site: Path) -> None:
    code, calls, _ = make(site, "proof")
    assert code == 0
    assert [each for each in calls if each.startswith("posthouse")] == [
        "posthouse sim --seeds 10000 --first 0 --record proof/sim.json",
        "posthouse mutants --record proof/mutants.json",
        "posthouse chaos all --html proof/chaos.html --record proof/chaos.json",
        "posthouse soak --cluster --minutes 60 --record proof/soak.json",
        *(f"posthouse bench {words} --json --record proof/bench.json" for words in LIMITS),
    ]
    assert calls[-1] == "python spec/guarantees.py"


@pytest.mark.parametrize("failing", PARTS)
def test_a_part_that_fails_keeps_no_other_from_being_run(site: Path, failing: str) -> None:
    (site / f"code-{failing}").write_text("5")
    code, calls, told = make(site, "proof")
    assert code != 0
    assert f"Failed: {failing}\n" in told
    parts = [each.split()[1] for each in calls if each.startswith("posthouse")]
    assert list(dict.fromkeys(parts)) == PARTS
    assert parts.count("bench") == len(LIMITS)
    assert calls[-1] == "python spec/guarantees.py"


def test_some_benchmarks_can_be_chosen(site: Path) -> None:
    code, calls, _ = make(site, "bench", "BENCHES=startup 'send --cluster'")
    assert code == 0
    assert calls == [
        "posthouse bench startup --json --record proof/bench.json",
        "posthouse bench send --cluster --json --record proof/bench.json",
        "python spec/guarantees.py",
    ]


def test_a_part_by_itself_generates_the_page_and_fails_with_its_command(site: Path) -> None:
    (site / "code-sim").write_text("5")
    code, calls, told = make(site, "sim", "SEEDS=20")
    assert code != 0
    assert "Error 5" in told
    assert calls == [
        "posthouse sim --seeds 20 --first 0 --record proof/sim.json",
        "python spec/guarantees.py",
    ]
