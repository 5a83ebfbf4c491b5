"""The list of promises names tests, places and mutants that are there, and every mutant once."""

from pathlib import Path

import pytest

from posthouse.testing.mutation.safeguards import SAFEGUARDS
from spec.promises import listed
from spec.promises.listed import Promise, Safeguard, Wrong

ROOT = Path(__file__).parents[3]


def promises(*mutants: str, promise: str = "G1") -> list[Promise]:
    kept = [Safeguard(what="it holds", tests=[], mutants=[name]) for name in mutants]
    return [Promise(id=promise, title="T", text="", safeguard=kept)]


def written(promise: str, *lines: str) -> str:
    """A promise of a list, with a safeguard that has all its mutants."""
    mutants = ", ".join(f'"{each.name}"' for each in SAFEGUARDS if each.promise == promise)
    head = ("[[promise]]", f'id = "{promise}"', 'title = "T"', 'text = "All."')
    return "\n".join(
        [*head, "[[promise.safeguard]]", 'what = "it holds"', *lines, f"mutants = [{mutants}]", ""]
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One with a test and a room, and a list in which all is well."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text("async def test_it_holds() -> None: ...\n")
    (tmp_path / "src/posthouse/room").mkdir(parents=True)
    (tmp_path / "src/posthouse/room/door.py").write_text("")
    first = written("G1", 'where = ["room", "room/door"]', 'tests = ["test_it_holds"]')
    others = (written(f"G{number}", "tests = []") for number in range(2, 8))
    (tmp_path / "list.toml").write_text("".join([first, *others]))
    return tmp_path


def test_the_list_of_the_repository_is_right() -> None:
    assert [each.id for each in listed.load(ROOT / "spec/guarantees.toml", ROOT)] == [
        f"G{number}" for number in range(1, 8)
    ]


def test_what_is_named_and_there_is_taken(repository: Path) -> None:
    first = listed.load(repository / "list.toml", repository)[0]
    assert (first.text, first.safeguard[0].where) == ("All.", ["room", "room/door"])


@pytest.mark.parametrize(
    ("there", "instead", "told"),
    [
        ("test_it_holds", "test_it_is_gone", "G1: there is no test test_it_is_gone"),
        ("room/door", "room/wall", "G1: there is no src/posthouse/room/wall"),
        ("find-repeated-sends", "find-nothing", "G2: find-nothing is nowhere in"),
        ('title = "T"', "", "missing required field `title`"),
        ("where =", "were =", "unknown field `were`"),
        ('"G1"', '"G1', "list.toml"),
    ],
)
def test_what_is_not_there_is_told(repository: Path, there: str, instead: str, told: str) -> None:
    file = repository / "list.toml"
    file.write_text(file.read_text().replace(there, instead))
    with pytest.raises(Wrong, match=told):
        listed.load(file, repository)


def test_a_mutant_that_no_safeguard_names_is_told_and_so_is_one_that_two_name() -> None:
    twice = SAFEGUARDS[0].name
    told = list(listed.wrong_mutants(promises(twice, twice)))
    assert f"{twice} of testing/mutation/promises is named 2 times, and must be once" in told
    assert f"{SAFEGUARDS[1].name} of testing/mutation/promises is named 0 times, and must be once" in told


def test_a_mutant_under_another_promise_is_told() -> None:
    told = list(listed.wrong_mutants(promises("acknowledge-after-commit", promise="G7")))
    assert "G7: acknowledge-after-commit is G1 in testing/mutation/promises" in told


def test_a_promise_without_a_mutant_is_told() -> None:
    row = Safeguard(what="it holds", tests=[], no_mutant="the whole path")
    told = list(listed.wrong_mutants([Promise(id="G6", title="T", text="", safeguard=[row])]))
    assert "G6: none of its safeguards has a mutant" in told


@pytest.mark.parametrize(("mutants", "why"), [([], ""), (["find-repeated-sends"], "the whole path")])
def test_a_row_has_mutants_or_says_why_it_has_none(mutants: list[str], why: str) -> None:
    row = Safeguard(what="it holds", tests=[], mutants=mutants, no_mutant=why)
    told = list(listed.wrong_mutants([Promise(id="G2", title="T", text="", safeguard=[row])]))
    assert "G2: 'it holds' has neither mutants nor no_mutant, or both" in told
