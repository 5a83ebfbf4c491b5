"""Entries in words."""

from typing import Any

import msgspec
import pytest

from posthouse.cli.entries import lines_of, membership, names
from posthouse.model.entry import Entry


def entry(kind: str, sender: str = "ann", /, **body: Any) -> Entry:
    raw = msgspec.Raw(msgspec.json.encode(body))
    return Entry(conv="g", seq=1, kind=kind, at_ms=0, ordinal=1, body=raw, sender=sender)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (entry("message", text="hello"), "hello"),
        (entry("message", sticker=7), '{"sticker":7}'),
        (entry("x.poll", text="Tea?"), "Tea?"),
        (entry("x.poll", options=2), '[x.poll] {"options":2}'),
        (entry("later.kind", a=1), '[later.kind] {"a":1}'),
        (entry("conversation.created", kind="direct", users=["ann", "bob"]), "ann started the conversation with bob"),
        (
            entry("conversation.created", kind="group", title="Tea", users=["ann", "bob", "carol"]),
            "ann started the group “Tea” with bob and carol",
        ),
        (entry("conversation.created", "", kind="channel", users=[]), "the server started the channel"),
        (entry("member.joined", users=["ann"], role="member"), "ann joined"),
        (entry("member.joined", users=["bob", "carol"]), "ann added bob and carol"),
        (entry("member.joined", "", users=["bob"]), "bob joined"),
        (entry("member.left", users=["ann"]), "ann left"),
        (entry("member.left", users=["bob"]), "ann removed bob"),
        (entry("member.role", users=["bob"], role="admin"), "ann made bob admin"),
        (entry("conversation.changed", title="Coffee"), "ann named the conversation “Coffee”"),
        (entry("conversation.changed", properties={}), "ann changed the conversation's properties"),
        (entry("member.joined", users="nonsense"), '[member.joined] {"users":"nonsense"}'),
    ],
)  # fmt: skip
def test_an_entry_in_words(given: Entry, said: str) -> None:
    assert lines_of(given) == [said]


def test_a_text_of_several_lines_stays_so() -> None:
    assert lines_of(entry("message", text="a\nb")) == ["a", "b"]


def test_a_title_cannot_steer_the_terminal() -> None:
    assert lines_of(entry("conversation.changed", title="\x1b[2J\n")) == [
        "ann named the conversation “␛[2J ”"
    ]


def test_of_many_names_the_first_few_are_told() -> None:
    assert names([]) == ""
    assert names(["a"]) == "a"
    assert names(list("abcde")) == "a, b, c, d and e"
    assert names([f"u{n}" for n in range(30)]) == "u0, u1, u2, u3 and 26 others"


def test_membership_is_read_from_the_entries_that_change_it() -> None:
    assert membership(entry("conversation.created", kind="group", users=["ann", "bob"])) == (
        ("ann", "bob"),
        (),
    )
    assert membership(entry("member.joined", users=["bob"])) == (("bob",), ())
    assert membership(entry("member.left", users=["bob"])) == ((), ("bob",))
    assert membership(entry("message", users=["bob"])) == ((), ())
