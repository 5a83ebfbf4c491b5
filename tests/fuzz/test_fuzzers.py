"""Every fuzzer runs for a while, and all of its saved corpus is tried again: also what once broke something."""

import importlib

import pytest

from fuzz.growth import BYTES_MAX, FILES_MAX, PREFIX, file_name, reached
from fuzz.loop import CORPUS, Defect, Fuzzer
from spec.generate import ROOT

INPUTS = 1_500
NAMES = [path.stem for path in sorted((ROOT / "fuzz").glob("fuzz_*.py"))]


def fuzzer(name: str) -> Fuzzer:
    found: Fuzzer = importlib.import_module(f"fuzz.{name}").FUZZER
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_while_of_fuzzing_breaks_nothing(name: str) -> None:
    """`make fuzz` goes on for longer, with other seeds."""
    tried = fuzzer(name)
    inputs = len(tried.known()) + INPUTS // tried.cost
    assert tried.run(seed=1, inputs_max=inputs, until=lambda: False) == inputs


@pytest.mark.parametrize("name", NAMES)
def test_the_saved_corpus_breaks_nothing(name: str) -> None:
    tried = fuzzer(name)
    broken = []
    for path in tried.corpus():
        try:
            tried.try_input(path.read_bytes(), with_memory=True)
        except Defect as defect:
            broken.append(f"{path.name}: {defect}")
    assert not broken


@pytest.mark.parametrize("name", NAMES)
def test_every_fuzzer_has_a_corpus_that_reaches_its_parser_and_is_small(name: str) -> None:
    """`make corpus` makes it."""
    tried = fuzzer(name)
    saved = {path: path.read_bytes() for path in tried.corpus() if path.name.startswith(PREFIX)}
    assert 0 < len(saved) <= FILES_MAX
    assert sum(map(len, saved.values())) <= BYTES_MAX
    assert all(path.name == file_name(data) for path, data in saved.items())
    assert all(reached(tried, data) for data in saved.values())


def test_every_fuzzer_is_named_after_its_file_and_every_folder_of_the_corpus_after_a_fuzzer() -> None:
    """Otherwise what it saves would be tried again by nobody."""
    assert {f"fuzz_{fuzzer(name).name}" for name in NAMES} == set(NAMES)
    assert {f"fuzz_{folder.name}" for folder in CORPUS.iterdir()} <= set(NAMES)
