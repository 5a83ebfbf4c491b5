"""What a chat knows of the user's other conversations."""

import msgspec
import pytest

from posthouse.cli.chatting.overview import LISTED_MAX, Overview
from posthouse.model.conversation import Kind, Role
from posthouse.model.entry import MESSAGE, Entry
from posthouse.protocol.frames import Summary


def summary(conv: str, title: str = "", peer: str = "", unread: int = 0, head: int = 5) -> Summary:
    body = msgspec.Raw(b'{"text":"hello"}')
    last = Entry(conv=conv, seq=head, kind=MESSAGE, at_ms=0, ordinal=1, body=body, sender="bob")
    kind = Kind.DIRECT if peer else Kind.GROUP
    return Summary(
        conv=conv, kind=kind, role=Role.MEMBER, head=head, first_seq=1, joined_seq=1, title=title, peer=peer,
        members=3, unread=unread, last=last,
    )  # fmt: skip


@pytest.fixture
def overview() -> Overview:
    overview = Overview()
    overview.learn(
        [summary("g1", title="Tea", unread=2), summary("=d", peer="carol"), summary("g2", unread=1)]
    )
    return overview


def test_names_are_titles_users_or_ids(overview: Overview) -> None:
    assert [overview.name(conv) for conv in ("g1", "=d", "g2", "unknown")] == [
        "Tea",
        "@carol",
        "g2",
        "unknown",
    ]


def test_what_is_unread_is_told_of_the_others(overview: Overview) -> None:
    assert overview.unread("g2") == "2 in Tea"
    assert overview.unread("=d") == "2 in Tea, 1 in g2"
    overview.count("=d", 4)
    assert overview.unread("") == "2 in Tea, 4 in @carol, 1 in g2"


def test_of_many_the_first_are_named() -> None:
    overview = Overview()
    overview.learn([summary(f"g{n}", unread=1) for n in range(6)])
    assert overview.unread("") == "1 in g0, 1 in g1, 1 in g2 and 3 more"


def test_what_was_shown_stays_read_though_the_server_does_not_know_yet(overview: Overview) -> None:
    overview.show("g1", 5)
    overview.learn([summary("g1", unread=2), summary("g2", unread=1)])
    assert overview.unread("") == "1 in g2"
    overview.learn([summary("g1", unread=3, head=6)])
    assert overview.unread("") == "3 in g1"


def test_a_conversation_is_found_by_number_id_title_or_user(overview: Overview) -> None:
    assert overview.find("1") is None
    assert overview.rows() == [
        ("1", "Tea", "2 unread", "bob: hello"),
        ("2", "@carol", "", "bob: hello"),
        ("3", "g2", "1 unread", "bob: hello"),
    ]
    wanted = ("2", "g1", "Tea", "carol", "@carol", "4", "0", "nowhere")
    assert [overview.find(where) for where in wanted] == ["=d", "g1", "g1", "=d", "=d", None, None, None]


def test_the_list_is_bounded() -> None:
    overview = Overview()
    overview.learn([summary(f"g{n}") for n in range(LISTED_MAX + 1)])
    assert len(overview.rows()) == LISTED_MAX


def test_it_knows_what_it_was_told(overview: Overview) -> None:
    assert (overview.knows("g1"), overview.members("g1")) == (True, 3)
    assert (overview.knows("other"), overview.members("other")) == (False, 0)
