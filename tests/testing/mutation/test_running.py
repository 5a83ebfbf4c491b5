"""A test has noticed that a safeguard is missing if it fails then, and only then."""

from pathlib import Path

import pytest

from posthouse.testing.mutation import running
from posthouse.testing.mutation.running import ANYWAY, Caught, catch
from posthouse.testing.mutation.safeguards import named
from posthouse.testing.simulation.seeds import Outcome

LANE = named("hold-back-after-a-refusal")
HOLDS = """
import pytest
from posthouse.messaging.lane import Lane

@pytest.mark.parametrize("case", ["a - b"])
def test_it_holds(case):
    assert Lane.admits.__name__ == "admits", "x - [y]"
"""


def caught(repository: Path, text: str) -> Caught:
    (repository / "test_a.py").write_text(text)
    return catch(LANE._replace(tests=("test_a.py",)), repository)


def test_a_test_that_fails_without_the_safeguard_has_noticed(tmp_path: Path) -> None:
    found = caught(tmp_path, HOLDS)
    assert (found.by, found.how) == ("test_it_holds[a - b]", "test_a.py::test_it_holds[a - b]")


def test_a_test_that_passes_without_the_safeguard_has_not(tmp_path: Path) -> None:
    assert caught(tmp_path, "def test_it_holds(): pass") == Caught(LANE.name, "")


def test_a_test_that_is_red_anyway_proves_nothing(tmp_path: Path) -> None:
    found = caught(tmp_path, "def test_it_holds(): assert False")
    assert (found.by, found.how) == ("", f"test_a.py::test_it_holds {ANYWAY}")


def test_tests_that_cannot_be_run_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="pytest ended with 2"):
        caught(tmp_path, "import nowhere")


def test_a_story_that_fails_anyway_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    red = Outcome(0, 200, 200, 400, (), (), ("it is red",), 0, 1.0)
    monkeypatch.setattr(running, "outcome", lambda seed: red)
    assert catch(named("find-repeated-sends"), Path()).how == f"seed 0 {ANYWAY}"
