"""What is generated from the specification is current, and the check for that can fail."""

from pathlib import Path

import pytest

from spec import generate


def test_every_generated_file_is_current() -> None:
    """P-19.2: `python spec/generate.py` would change nothing."""
    stale = [
        path for stage in generate.STAGES for path, text in stage().items() if path.read_text("utf-8") != text
    ]
    assert not stale, (
        f"run `make generate` and commit {[str(path.relative_to(generate.ROOT)) for path in stale]}"
    )


@pytest.fixture
def one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A specification from which one file follows."""
    file = tmp_path / "made" / "codes.py"
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "STAGES", (lambda: {file: "good\n"},))
    return file


def test_the_check_names_a_file_that_is_missing_and_writes_nothing(
    one_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--check"]) == 1
    assert "stale: made/codes.py" in capsys.readouterr().out
    assert not one_file.exists()


def test_the_check_names_a_file_that_was_changed_by_hand(
    one_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_file.parent.mkdir()
    one_file.write_text("edited\n")
    assert generate.main(["--check"]) == 1
    assert "stale: made/codes.py" in capsys.readouterr().out
    assert one_file.read_text() == "edited\n"


def test_generating_writes_what_is_stale_and_after_that_the_check_passes(one_file: Path) -> None:
    assert generate.main([]) == 0
    assert one_file.read_text() == "good\n"
    assert generate.main(["--check"]) == 0
