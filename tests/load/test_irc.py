"""A chat log becomes a play in which every nick is a member whenever it speaks."""

import gzip
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.load.irc import Act, BadLog, Day, Step, read
from posthouse.load.sample import chat_log


def line(kind: str, nick: str, more: str = "", at: str = "2004-11-15T12:18:00Z") -> bytes:
    field = "to" if kind == "rename" else "text"
    return msgspec.json.encode({"at": at, "kind": kind, "nick": nick} | ({field: more} if more else {}))


def the_day(*lines: bytes) -> Day:
    (day,) = read(lines)
    return day


def acts(day: Day) -> list[tuple[str, str]]:
    return [(step.act.value, step.nick) for step in day.steps]


def test_a_nick_thafter_speaks_without_having_joined_joins_first_and_once() -> None:
    day = the_day(
        line("message", "ann", "hi"), line("message", "ann", "there"), line("action", "bob", "waves")
    )
    assert acts(day) == [
        ("join", "ann"), ("message", "ann"), ("message", "ann"), ("join", "bob"), ("action", "bob"),
    ]  # fmt: skip
    assert [step.text for step in day.steps if step.text] == ["hi", "there", "waves"]
    assert day.present == ()


def test_a_nick_that_joined_does_not_join_again() -> None:
    assert acts(the_day(line("join", "ann"), line("join", "ann"), line("message", "ann", "hi"))) == [
        ("join", "ann"),
        ("message", "ann"),
    ]


def test_a_nick_that_leaves_without_having_been_seen_was_there_from_the_start() -> None:
    day = the_day(line("leave", "ann"))
    assert (day.present, acts(day)) == (("ann",), [("leave", "ann")])


def test_a_nick_that_left_may_come_again() -> None:
    day = the_day(
        line("join", "ann"), line("leave", "ann"), line("leave", "ann"), line("message", "ann", "hi")
    )
    assert acts(day) == [("join", "ann"), ("leave", "ann"), ("join", "ann"), ("message", "ann")]


def test_in_a_rename_the_new_nick_joins_and_the_old_one_leaves() -> None:
    day = the_day(line("message", "ann", "hi"), line("rename", "ann", "ann_"), line("message", "ann_", "hi"))
    assert acts(day)[2:] == [("join", "ann_"), ("leave", "ann"), ("message", "ann_")]
    assert day.cast == ("ann", "ann_")


def test_a_rename_to_the_same_nick_or_to_one_that_is_there_adds_nobody() -> None:
    day = the_day(
        line("join", "ann"), line("rename", "ann", "ann "), line("join", "bob"), line("rename", "bob", "ann")
    )
    assert acts(day) == [("join", "ann"), ("join", "bob"), ("leave", "bob")]


def test_blanks_around_a_nick_are_no_part_of_it() -> None:
    assert the_day(line("message", " [optik] ", "hi")).cast == ("[optik]",)


def test_each_day_is_a_play_of_its_own() -> None:
    days = list(read([line("join", "ann"), line("message", "ann", "hi", "2004-11-16T00:00:00Z")]))
    assert [day.name for day in days] == ["2004-11-15", "2004-11-16"]
    assert acts(days[1]) == [("join", "ann"), ("message", "ann")]


def test_time_is_counted_from_the_first_line_also_past_midnight_under_the_same_date() -> None:
    clock = ("23:58", "23:59", "00:01", "00:00", "01:00")
    day = the_day(*(line("message", "ann", "hi", f"2004-11-15T{at}:00Z") for at in clock))
    assert [step.after_s for step in day.steps[1:]] == [0, 60, 180, 180, 3720]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([b"not json"], "line 1: "),
        ([line("join", "ann"), line("shout", "ann")], "line 2: Invalid enum value 'shout'"),
        ([line("join", "  ")], "line 1: user id must be"),
        ([line("join", "a\x00")], "line 1: user id must not contain control"),
        ([line("rename", "ann")], "line 1: user id must be"),
        ([line("join", "ann", at="yesterday")], "line 1: Invalid RFC3339"),
        (
            [line("join", "ann"), line("join", "ann", at="2004-11-14T00:00:00Z")],
            "2004-11-14 comes after 2004-11-15",
        ),
    ],
)
def test_what_is_no_chat_log_is_refused_with_its_line(lines: Iterable[bytes], says: str) -> None:
    with pytest.raises(BadLog, match=says):
        list(read(lines))


def check_play(day: Day) -> None:
    """Who speaks or leaves is there; who joins is not; the cast is everyone."""
    there = set(day.present)
    last_s = 0
    for step in day.steps:
        assert (step.nick in there) is (step.act is not Act.JOIN), step
        if step.act in (Act.JOIN, Act.LEAVE):
            there ^= {step.nick}
        assert step.after_s >= last_s
        last_s = step.after_s
    assert set(day.cast) == set(day.present) | {step.nick for step in day.steps}
    assert len(day.cast) == len(set(day.cast))


@given(st.integers(0, 1_000_000))
def test_in_any_play_who_speaks_is_there_and_nothing_said_is_left_out(seed: int) -> None:
    lines = list(chat_log(random.Random(seed), days=2, nicks=5, lines_per_day=40))
    days = list(read(lines))
    for day in days:
        check_play(day)
    spoken = [step for day in days for step in day.steps if step.act in (Act.MESSAGE, Act.ACTION)]
    written = [msgspec.json.decode(each) for each in lines]
    assert [step.text for step in spoken] == [each["text"] for each in written if "text" in each]


def test_the_sample_repeats_with_its_seed() -> None:
    assert list(chat_log(random.Random(1))) == list(chat_log(random.Random(1)))
    assert isinstance(next(iter(read(chat_log(random.Random(1))))).steps[0], Step)


def test_the_whole_real_log_becomes_plays_that_leave_out_nothing_said(irc_log: Path) -> None:
    said: Counter[Act] = Counter()
    days = 0
    with gzip.open(irc_log) as file:
        for day in read(file):
            check_play(day)
            days += 1
            said.update(step.act for step in day.steps)
    assert days == 173
    assert (said[Act.MESSAGE], said[Act.ACTION]) == (221_591, 509)
