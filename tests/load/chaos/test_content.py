"""What the clients say: sentences of a real log, or made-up ones, from a place that a seed gives."""

import gzip
from pathlib import Path

import msgspec

from posthouse.load.chaos.content import sentences
from tests.load.conftest import IRC_LOG


def test_without_a_log_sentences_are_made_up_and_a_seed_repeats_them() -> None:
    said = sentences(None, 1)
    assert said == sentences(None, 1) != sentences(None, 2)
    assert len(said) > 1_000
    assert all(said)


def test_of_a_log_everything_that_was_said_is_taken_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl.gz"
    lines = [{"at": "2004-11-15T12:18:00Z", "kind": "join", "nick": "ann"}]
    lines += [
        {"at": "2004-11-15T12:18:00Z", "kind": "message", "nick": "ann", "text": f"word {n}"}
        for n in range(5)
    ]
    log.write_bytes(gzip.compress(b"\n".join(map(msgspec.json.encode, lines))))
    assert sorted(sentences(log, 3)) == [f"word {n}" for n in range(5)]


def test_the_real_log_is_taken_where_it_lies_beside_the_project() -> None:
    from posthouse.load.chaos.content import real_log

    assert real_log() == (IRC_LOG if IRC_LOG.exists() else None)
