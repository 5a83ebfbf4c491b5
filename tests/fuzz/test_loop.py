"""The loop of the fuzzers finds planted defects, says how to see them again, and keeps the input."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from fuzz import loop
from fuzz.loop import Broken, Defect, Fuzzer
from fuzz.mutations import CHANGES, Change, mutated
from spec.generate import ROOT

HERE = ("tests.fuzz.",)
SEEDS = [b'{"a":1}', b"[1,2,3]"]


def refuse_nothing(data: bytes) -> None:
    pass


def fall_over_nul(data: bytes) -> None:
    if b"\x00" in data:
        raise ValueError("a parser that falls over U+0000")


def hoard(data: bytes) -> None:
    if b"[" in data:
        bytearray(loop.MEMORY_BYTES_MAX + 1_000_000)


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(loop, "CORPUS", tmp_path)
    return tmp_path


def arguments(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", *values])


def test_a_planted_defect_is_found_kept_and_found_again(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = Fuzzer("planted", fall_over_nul, HERE, SEEDS)
    arguments(monkeypatch, "--seconds", "30", "--seed", "7")
    assert loop.main(planted) == 1
    assert "broken with --seed 7" in capsys.readouterr().out
    (path,) = planted.corpus()
    assert b"\x00" in path.read_bytes()
    arguments(monkeypatch, "--replay", str(path))
    assert loop.main(planted) == 1
    arguments(monkeypatch, "--seconds", "30", "--inputs", "100")
    assert loop.main(planted) == 1, "the corpus is tried first"


def test_a_parser_without_defects_passes(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments(monkeypatch, "--inputs", "50", "--seed", "7")
    assert loop.main(Fuzzer("sound", refuse_nothing, HERE, SEEDS)) == 0
    assert "50 inputs" in capsys.readouterr().out
    assert not list(corpus.iterdir())


def test_an_input_that_takes_too_much_memory_is_a_defect(corpus: Path) -> None:
    hoarder = Fuzzer("hoarder", hoard, HERE, SEEDS)
    hoarder.try_input(SEEDS[0], with_memory=True)
    with pytest.raises(Defect, match="MiB of memory"):
        hoarder.try_input(SEEDS[1], with_memory=True)


def test_an_input_that_takes_too_long_is_a_defect(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([0.0, loop.CPU_S_MAX / 2, 10.0, 10.1 + loop.CPU_S_MAX])
    monkeypatch.setattr("fuzz.loop.time.process_time", lambda: next(spent))
    slow = Fuzzer("slow", refuse_nothing, HERE, SEEDS)
    slow.try_input(SEEDS[0])
    with pytest.raises(Defect, match="s of CPU"):
        slow.try_input(SEEDS[0])


def test_the_same_seed_makes_the_same_inputs_and_another_one_others(corpus: Path) -> None:
    def some(seed: int) -> list[bytes]:
        inputs = Fuzzer("sound", refuse_nothing, HERE, SEEDS).inputs(seed)
        return [next(inputs) for _ in range(50)]

    assert some(1) == some(1)
    assert some(1)[: len(SEEDS)] == SEEDS
    assert some(1) != some(2)


def test_a_broken_run_names_the_input(corpus: Path) -> None:
    with pytest.raises(Broken) as caught:
        Fuzzer("planted", fall_over_nul, HERE, [b"\x00"]).run(1, 10, lambda: False)
    assert caught.value.data == b"\x00"


def test_inputs_never_grow_beyond_their_limit() -> None:
    rng = Random(1)
    sizes = [len(mutated(rng, SEEDS, [b"[" * 100], 500)) for _ in range(2_000)]
    assert max(sizes) == 500
    assert len(set(sizes)) > 50


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("data", [b"", b"1", b'{"a":1}'])
def test_every_change_takes_any_input_and_does_change_something(change: Change, data: bytes) -> None:
    rng = Random(1)
    made = {change(rng, data, SEEDS, [b"word"]) for _ in range(200)}
    assert len(made) > 1 or data == b""


def test_a_fuzzer_runs_as_a_program_of_its_own() -> None:
    """As `make fuzz` starts it."""
    command = [sys.executable, "fuzz/fuzz_deflate.py", "--inputs", "20", "--seed", "3"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "deflate: 20 inputs" in finished.stdout
