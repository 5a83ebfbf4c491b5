"""What the client counts by itself: unread messages, members."""

import msgspec

from posthouse.client.conversations import RECEIPT_MEMBERS_MAX, Conversations
from posthouse.model.conversation import Kind, Role
from posthouse.model.entry import Entry
from posthouse.protocol.frames import Summary


def entry(seq: int, ordinal: int, kind: str = "message", body: bytes = b"{}", conv: str = "room") -> Entry:
    return Entry(conv=conv, seq=seq, kind=kind, at_ms=0, ordinal=ordinal, body=msgspec.Raw(body))


def listed(members: int = 3, unread: int = 2) -> Conversations:
    views = Conversations()
    last = entry(10, ordinal=8)
    views.learn(
        Summary(
            conv="room",
            kind=Kind.GROUP,
            role=Role.MEMBER,
            head=10,
            first_seq=1,
            joined_seq=1,
            members=members,
            unread=unread,
            last=last,
        )
    )
    return views


def test_unread_starts_from_the_list_and_grows_with_what_counts() -> None:
    views = listed(unread=2)
    views.apply(entry(11, ordinal=9))
    views.apply(entry(12, ordinal=9, kind="member.joined"))
    assert views.unread("room") == 3


def test_reading_everything_leaves_nothing_unread() -> None:
    views = listed()
    views.apply(entry(11, ordinal=9))
    views.read("room", 11, applied=11)
    assert views.unread("room") == 0


def test_reading_up_to_an_entry_leaves_the_messages_after_it() -> None:
    views = listed()
    for seq, ordinal in ((11, 9), (12, 10), (13, 11)):
        views.apply(entry(seq, ordinal))
    views.read("room", 11, applied=13)
    assert views.unread("room") == 2


def test_a_conversation_seen_for_the_first_time_counts_from_its_first_entry() -> None:
    views = Conversations()
    views.apply(entry(40, ordinal=31, kind="member.joined", body=b'{"users":["ann"]}'))
    views.apply(entry(41, ordinal=32))
    assert views.unread("room") == 1


def test_receipts_are_for_conversations_known_to_be_small() -> None:
    """P-12.5."""
    views = listed(members=RECEIPT_MEMBERS_MAX)
    view = views.apply(entry(11, 9))
    assert view.receipts
    view = views.apply(entry(12, 9, "member.joined", b'{"users":["zoe"]}'))
    assert not view.receipts
    view = views.apply(entry(13, 9, "member.left", b'{"users":["zoe"]}'))
    assert view.receipts


def test_a_conversation_of_unknown_size_gets_receipts_only_when_direct() -> None:
    views = Conversations()
    assert not views.apply(entry(1, 1)).receipts
    assert views.apply(entry(1, 1, conv="=abc")).receipts


def test_the_first_entry_tells_how_many_members_there_are() -> None:
    views = Conversations()
    view = views.apply(entry(1, 0, "conversation.created", b'{"users":["ann","bob"]}'))
    assert view.members == 2
