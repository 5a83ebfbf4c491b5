"""What the chat shows, and when a line has settled."""

import msgspec
import pytest

from posthouse.cli.chatting.transcript import Line, Mark, Transcript
from posthouse.model.entry import MEMBER_JOINED, MEMBER_LEFT, MESSAGE, Entry
from posthouse.protocol.frames import MemberCursor

NOON_MS = 1_763_899_200_000
DAY_MS = 86_400_000


def said(seq: int, sender: str, text: str = "", at_ms: int = NOON_MS, client_id: str = "") -> Entry:
    body = msgspec.Raw(msgspec.json.encode({"text": text or f"text {seq}"}))
    return Entry(
        conv="g",
        seq=seq,
        kind=MESSAGE,
        at_ms=at_ms,
        ordinal=seq,
        body=body,
        sender=sender,
        client_id=client_id,
    )


def changed(seq: int, kind: str, *users: str) -> Entry:
    body = msgspec.Raw(msgspec.json.encode({"users": users}))
    return Entry(conv="g", seq=seq, kind=kind, at_ms=NOON_MS, ordinal=1, body=body, sender=users[0])


def one(_: Line) -> int:
    return 1


def shown(transcript: Transcript) -> list[str]:
    """The texts of the tail's lines, without the day's notice."""
    return [line.texts[0] for line in transcript.tail if "20" not in line.texts[0]]


@pytest.fixture
def transcript() -> Transcript:
    return Transcript("ann", [MemberCursor("bob"), MemberCursor("carol")])


def mark_of_last(transcript: Transcript) -> Mark:
    return transcript.mark(transcript.tail[-1])


def test_an_entry_is_shown_once(transcript: Transcript) -> None:
    assert transcript.entry(said(1, "bob"))
    assert not transcript.entry(said(1, "bob"))
    assert shown(transcript) == ["text 1"]


def test_a_line_waits_until_it_comes_back_as_an_entry(transcript: Transcript) -> None:
    transcript.typed("c1", "hello", NOON_MS)
    assert [transcript.mark(line) for line in transcript.waiting.values()] == [Mark.WAITING]
    transcript.entry(said(1, "bob"))
    transcript.entry(said(2, "ann", "hello", client_id="c1"))
    assert not transcript.waiting
    assert shown(transcript) == ["text 1", "hello"]
    assert mark_of_last(transcript) is Mark.SENT


def test_the_same_name_from_another_user_is_not_ours(transcript: Transcript) -> None:
    transcript.typed("c1", "hello", NOON_MS)
    transcript.entry(said(1, "bob", client_id="c1"))
    assert list(transcript.waiting) == ["c1"]


def test_a_refused_line_is_shown_with_the_reason(transcript: Transcript) -> None:
    transcript.typed("c1", "hello", NOON_MS)
    transcript.refused("c1", "too long")
    assert transcript.tail[-1].texts == ("not sent: too long", "hello")
    assert not transcript.waiting
    transcript.refused("unknown", "whatever")
    assert len(transcript.tail) == 1


def test_the_mark_says_what_everyone_has_done(transcript: Transcript) -> None:
    transcript.entry(said(1, "ann"))
    marks = []
    for cursor in (
        MemberCursor("bob", 0, 1),
        MemberCursor("carol", 0, 1),
        MemberCursor("bob", 1, 1),
        MemberCursor("ann", 1, 1),
        MemberCursor("carol", 1),
    ):
        transcript.moved([cursor])
        marks.append(mark_of_last(transcript))
    assert marks == [Mark.SENT, Mark.DELIVERED, Mark.DELIVERED, Mark.DELIVERED, Mark.READ]


def test_cursors_never_go_back(transcript: Transcript) -> None:
    transcript.entry(said(1, "ann"))
    transcript.moved([MemberCursor("bob", 1, 1), MemberCursor("carol", 1, 1)])
    transcript.moved([MemberCursor("bob", 0, 0)])
    assert mark_of_last(transcript) is Mark.READ


def test_who_joins_counts_and_who_leaves_does_not(transcript: Transcript) -> None:
    transcript.moved([MemberCursor("bob", 9, 9), MemberCursor("carol", 9, 9)])
    transcript.entry(changed(1, MEMBER_JOINED, "dave"))
    transcript.entry(said(2, "ann"))
    assert mark_of_last(transcript) is Mark.SENT
    line = transcript.tail[-1]
    transcript.entry(changed(3, MEMBER_LEFT, "dave"))
    assert transcript.mark(line) is Mark.READ


def test_a_line_settles_once_nothing_about_it_can_change(transcript: Transcript) -> None:
    for entry in (said(1, "bob"), said(2, "ann"), said(3, "bob")):
        transcript.entry(entry)
    assert [line.seq for line in transcript.settle(10, one)] == [0, 1]
    transcript.moved([MemberCursor("bob", 2), MemberCursor("carol", 2)])
    assert [line.seq for line in transcript.settle(10, one)] == [2, 3]
    assert transcript.tail == []


def test_what_does_not_fit_settles_as_it_is(transcript: Transcript) -> None:
    for seq in range(1, 6):
        transcript.entry(said(seq, "ann"))
    assert [line.seq for line in transcript.settle(3, one)] == [0, 1, 2]
    assert [line.seq for line in transcript.settle(0, one)] == [3, 4, 5]


def test_alone_there_is_nobody_to_wait_for() -> None:
    transcript = Transcript("ann")
    transcript.entry(said(1, "ann"))
    assert mark_of_last(transcript) is Mark.SENT
    assert len(transcript.settle(10, one)) == 2


def test_a_new_day_is_announced(transcript: Transcript) -> None:
    transcript.entry(said(1, "bob"))
    transcript.entry(said(2, "bob"))
    transcript.entry(said(3, "bob", at_ms=NOON_MS + DAY_MS))
    assert [bool(line.who) for line in transcript.tail] == [False, True, True, False, True]
