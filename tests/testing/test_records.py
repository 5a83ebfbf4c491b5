"""Records of runs: rows that are made again move to the newest record, all others stay under what is true of them."""

from pathlib import Path

import msgspec
import pytest

from posthouse.kit.clock import ManualClock
from posthouse.testing.records import Malformed, Record, Recorder, Row, decoded
from posthouse.testing.version import described


def read(file: Path) -> list[Record[Row]]:
    return decoded(file.read_bytes(), Row, file.name)


def run(file: Path, *names: str, at_ms: int = 0, **options: object) -> None:
    recorder = Recorder(file, "name", options, {"valkey": "9"}, ManualClock(at_ms))
    for name in names:
        recorder.put({"name": name, "at_ms": at_ms})


def test_a_record_names_when_where_and_by_which_version_it_was_made(tmp_path: Path) -> None:
    run(tmp_path / "new folder/a.json", "x", at_ms=1_800_000_000_000, seeds=3)
    (record,) = read(tmp_path / "new folder/a.json")
    assert record.made_at == "2027-01-15T08:00:00Z"
    assert record.version == described()
    assert record.machine.cpus > 0
    assert {"python", "valkey"} == record.machine.versions.keys()
    assert record.options == {"seeds": 3}


def test_rows_that_are_not_made_again_stay_under_the_run_that_made_them(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    run(file, "x", "y", at_ms=0, seeds=300)
    run(file, "y", "z", at_ms=60_000, seeds=20)
    old, new = read(file)
    assert (old.made_at, old.options) == ("1970-01-01T00:00:00Z", {"seeds": 300})
    assert [row["name"] for row in old.rows] == ["x"]
    assert (new.made_at, new.options) == ("1970-01-01T00:01:00Z", {"seeds": 20})
    assert [row["name"] for row in new.rows] == ["y", "z"]


def test_a_run_of_which_nothing_is_left_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    run(file, "x", at_ms=0)
    run(file, "x", at_ms=1)
    assert [row["at_ms"] for record in read(file) for row in record.rows] == [1]


def test_each_row_is_kept_at_once_and_one_that_is_put_again_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    recorder = Recorder(file, "name", {})
    recorder.put({"name": "x", "acked": 1})
    assert read(file)[0].rows == [{"name": "x", "acked": 1}]
    recorder.put({"name": "x", "acked": 2})
    assert read(file)[0].rows == [{"name": "x", "acked": 2}]
    assert list(tmp_path.iterdir()) == [file]


def test_a_run_without_rows_or_without_a_file_writes_nothing(tmp_path: Path) -> None:
    Recorder(tmp_path / "a.json", "name", {})
    Recorder(None, "name", {}).put({"name": "x"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "{}", '[{"rows": []}]', '{"made_at": "2026", "rows": []}'])
def test_a_file_that_holds_something_else_is_told_before_anything_is_run(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(Malformed, match=r"a\.json does not hold records: "):
        Recorder(file, "name", {})
    assert file.read_text() == text


def test_rows_are_read_as_what_they_should_be(tmp_path: Path) -> None:
    class Counted(msgspec.Struct):
        acked: int

    run(tmp_path / "a.json", "x")
    with pytest.raises(Malformed, match="missing required field `acked`"):
        decoded((tmp_path / "a.json").read_bytes(), Counted, "a.json")
