"""A corpus grows by what reaches new code, and stays small."""

import sys
from pathlib import Path

import pytest

from fuzz import growth, loop
from fuzz.growth import grown, reached, save, smallest
from fuzz.loop import Broken, Fuzzer

HERE = (__name__,)


def parse(data: bytes) -> None:
    """Goes one step further for each character that is right."""
    if data.startswith(b"A") and refuse_number(data[1:2]):  # noqa: SIM102 - each is a step of its own
        if data[1:].startswith(b"B"):  # noqa: SIM102
            if data[2:].startswith(b"C"):
                refuse_number(b"D")


def refuse_number(data: bytes) -> bool:
    try:
        int(data)
    except ValueError:
        return True
    return False


def until_never() -> bool:
    return False


LADDER = Fuzzer("ladder", parse, HERE, [b"padding that nobody needs"], [b"A", b"B", b"C"], size_max=50)


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(loop, "CORPUS", tmp_path)
    monkeypatch.setattr(growth, "CORPUS", tmp_path)
    return tmp_path


def test_what_is_reached_differs_where_the_ways_part_and_is_the_same_where_they_do_not() -> None:
    assert reached(LADDER, b"x") == reached(LADDER, b"y")
    assert reached(LADDER, b"x") < reached(LADDER, b"A") | reached(LADDER, b"x")
    assert len({reached(LADDER, data) for data in (b"x", b"A", b"A1", b"AB", b"ABC")}) == 5


def test_only_the_fuzzers_own_modules_count() -> None:
    elsewhere = Fuzzer("elsewhere", parse, ("json",), [])
    assert not reached(elsewhere, b"ABC")
    assert sys.gettrace() is None


def test_a_corpus_climbs_by_what_it_has_found_and_every_input_in_it_is_as_short_as_can_be(
    corpus: Path,
) -> None:
    kept = grown(LADDER, 1, 3_000, until_never)
    assert b"ABC" in kept
    assert max(map(len, kept)) <= 3
    assert all(steps for steps in kept.values())


def test_a_corpus_that_is_saved_takes_the_place_of_the_one_before_and_is_what_fuzzing_begins_with(
    corpus: Path,
) -> None:
    (corpus / "ladder").mkdir()
    (corpus / "ladder" / "broke-0").write_bytes(b"B")
    save(LADDER, {b"A": frozenset()})
    save(LADDER, {b"ABC": frozenset(), b"": frozenset()})
    assert sorted(path.read_bytes() for path in LADDER.corpus()) == [b"", b"ABC", b"B"]
    assert set(LADDER.known()) == {*LADDER.seeds, b"", b"ABC", b"B"}


def steps(*numbers: int) -> growth.Steps:
    return frozenset(("module", number, number) for number in numbers)


def test_of_those_that_reach_the_same_the_smallest_are_kept() -> None:
    assert set(smallest({b"long": steps(1, 2), b"a": steps(1), b"b": steps(2), b"c": steps(2)})) == {
        b"a",
        b"b",
    }
    assert set(smallest({b"a": steps(1), b"all": steps(1, 2)})) == {b"all"}


def test_a_corpus_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {b"%03d" % number: steps(number) for number in range(100)}
    assert len(smallest(many)) == growth.FILES_MAX
    monkeypatch.setattr(growth, "BYTES_MAX", 10)
    assert len(smallest(many)) == 3


def test_an_input_that_breaks_something_ends_the_growing() -> None:
    def fall(data: bytes) -> None:
        raise ValueError("a defect")

    with pytest.raises(Broken):
        grown(Fuzzer("planted", fall, HERE, [b"x"]), 1, 10, until_never)


def test_the_program_says_what_the_corpus_is(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", "--grow", "--inputs", "2000", "--seed", "1"])
    assert loop.main(LADDER) == 0
    assert f"{len(LADDER.corpus())} inputs are the corpus" in capsys.readouterr().out
