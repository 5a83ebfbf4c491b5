"""`--record` names a file that will do, or nothing is run."""

from pathlib import Path

from posthouse.cli.failure import Exit
from tests.cli.running import run


def test_a_file_that_holds_something_else_is_told_at_once_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "sim.json"
    file.write_text("{}")
    done = run("sim", "--seeds", "1000000", "--record", str(file))
    assert done.exit_code == Exit.USAGE
    assert "does not hold records" in done.stderr
    assert "nothing was run" in done.stderr
    assert file.read_text() == "{}"


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no folder")
    done = run("sim", "--seeds", "1000000", "--record", str(tmp_path / "a/sim.json"))
    assert done.exit_code == Exit.USAGE
    assert "nothing was run" in done.stderr
