"""Every fuzzer runs for a while, and every input that ever broke something is tried again."""

import importlib

import pytest

from fuzz.loop import CORPUS, Fuzzer
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
    known = len(tried.seeds) + len(tried.corpus())
    assert tried.run(seed=1, inputs_max=known + INPUTS, until=lambda: False) == known + INPUTS


def saved() -> list[tuple[str, str]]:
    return [(name, path.name) for name in NAMES for path in fuzzer(name).corpus()]


@pytest.mark.parametrize(("name", "file"), saved())
def test_what_once_broke_something_does_so_no_more(name: str, file: str) -> None:
    tried = fuzzer(name)
    tried.try_input((CORPUS / tried.name / file).read_bytes(), with_memory=True)


def test_every_fuzzer_is_named_after_its_file_and_every_folder_of_the_corpus_after_a_fuzzer() -> None:
    """Otherwise what it saves would be tried again by nobody."""
    assert {f"fuzz_{fuzzer(name).name}" for name in NAMES} == set(NAMES)
    assert {f"fuzz_{folder.name}" for folder in CORPUS.iterdir()} <= set(NAMES)
