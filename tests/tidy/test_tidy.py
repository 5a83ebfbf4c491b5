"""The repository keeps the rules of the house (tests/tidy/rules.py), but for what stands on the ratchet."""

from pathlib import PurePosixPath

import pytest

from tests.tidy import ratchet
from tests.tidy.rules import TESTS_BESIDE_ROOMS, findings_in
from tests.tidy.source import PACKAGE, ROOT, Source, python_sources


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return python_sources()


def test_every_python_file_keeps_the_rules(sources: list[Source]) -> None:
    findings = [finding for source in sources for finding in findings_in(source)]
    exemptions = ratchet.read((ROOT / ratchet.FILE).read_text("utf-8"))
    complaints = list(ratchet.complaints(findings, exemptions))
    if complaints:
        pytest.fail("\n".join(["the rules of the house are broken:", *complaints]), pytrace=False)


def test_every_test_lies_where_the_room_it_tests_lies(sources: list[Source]) -> None:
    rooms = {source.place.parent for source in sources if source.in_package}
    strays = [str(source.path) for source in sources if is_stray_test(source.path, rooms)]
    places = f"tests/<the path of a room in {PACKAGE}>/, or one of {sorted(TESTS_BESIDE_ROOMS)}"
    assert not strays, f"\n{strays} mirror no room: a test lies in {places}"


def is_stray_test(path: PurePosixPath, rooms: set[PurePosixPath]) -> bool:
    """Whether a test file lies in a folder that stands for nothing."""
    if path.parts[0] != "tests" or not path.name.startswith("test_"):
        return False
    folder = path.parent.relative_to("tests")
    beside = bool(folder.parts) and folder.parts[0] in TESTS_BESIDE_ROOMS
    return not beside and folder not in rooms


def test_a_test_in_a_folder_without_a_room_is_a_stray() -> None:
    rooms = {PurePosixPath(), PurePosixPath("storage"), PurePosixPath("storage/engines")}
    assert is_stray_test(PurePosixPath("tests/stroage/test_append.py"), rooms)
    assert not is_stray_test(PurePosixPath("tests/storage/engines/test_sqlite.py"), rooms)
    assert not is_stray_test(PurePosixPath("tests/guarantees/test_g1.py"), rooms)
    assert not is_stray_test(PurePosixPath("tests/test_package.py"), rooms)
    assert not is_stray_test(PurePosixPath("tests/storage/contract.py"), rooms)
