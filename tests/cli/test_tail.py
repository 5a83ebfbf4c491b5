"""What `posthouse tail` shows: each entry once, and as many as were asked for."""

import msgspec
import pytest

from posthouse.cli.output import Output
from posthouse.cli.tail import Tail
from posthouse.model.entry import MESSAGE, Entry


def entry(seq: int, conv: str = "g1") -> Entry:
    body = msgspec.Raw(b'{"text":"hello"}')
    return Entry(conv=conv, seq=seq, kind=MESSAGE, at_ms=0, ordinal=seq, body=body, sender="bob")


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split(" ", 1)[0] for line in capsys.readouterr().out.splitlines()]


def test_what_is_in_the_history_and_comes_live_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    tail = Tail(Output(), None)
    for seq in (1, 2, 2, 3, 1):
        tail.show(entry(seq))
    assert shown(capsys) == ["1", "2", "3"]


def test_each_conversation_counts_for_itself_and_has_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    tail = Tail(Output(), None)
    tail.names = {"g1": "Tea", "g2": "@carol"}
    for conv in ("g1", "g2", "g1"):
        tail.show(entry(1, conv))
    assert shown(capsys) == ["Tea", "@carol"]


def test_it_ends_after_as_many_as_were_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    tail = Tail(Output(), 2)
    for seq in range(1, 5):
        tail.show(entry(seq))
    assert tail.done
    assert shown(capsys) == ["1", "2"]
