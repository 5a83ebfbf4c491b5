"""Notes: what one node packs another unpacks, whatever is in it; what only a newer node knows is passed over."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.kit.malformed import MALFORMED
from posthouse.messaging.notes import (
    BlockNote,
    CursorsNote,
    EntryNote,
    EventsNote,
    Handlers,
    HeadsNote,
    Note,
    OpenedNote,
    UnblockNote,
    WakeNote,
    decode_notes,
    encode_notes,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
seqs = st.integers(0, 2**53 - 1)
notes = st.one_of(
    st.builds(
        EntryNote,
        app=texts,
        conv=texts,
        seq=seqs,
        frame=st.binary(max_size=100),
        origin=texts,
        left=st.lists(texts, max_size=3).map(tuple),
    ),
    st.builds(CursorsNote, app=texts, conv=texts, frame=st.binary(max_size=100)),
    st.builds(HeadsNote, app=texts, heads=st.dictionaries(texts, seqs, max_size=5)),
    st.builds(BlockNote, app=texts, user=texts),
    st.builds(UnblockNote, app=texts, user=texts),
    st.builds(OpenedNote, app=texts, conv=texts, device=texts, session=texts, opened_ms=seqs),
    st.builds(WakeNote, database=texts),
    st.builds(EventsNote, events=st.lists(st.binary(max_size=50), max_size=3).map(tuple)),
)


@given(st.lists(notes, max_size=8))
def test_notes_arrive_as_they_were_sent_and_in_order(sent: list[Note]) -> None:
    assert decode_notes(encode_notes(sent)) == sent


def test_a_note_that_only_a_newer_node_knows_is_passed_over_and_its_neighbours_arrive() -> None:
    known = BlockNote("app", "ann")
    message = msgspec.msgpack.encode([known, [99, "something", "new"], known])
    assert decode_notes(message) == [known, known]


OF_NO_TEXT = b"\x91\x93\x04\xa3app\xa1\xff"


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\x93\x01", b"{}", OF_NO_TEXT])
def test_bytes_that_no_node_has_sent_are_an_error(message: bytes) -> None:
    with pytest.raises(MALFORMED):
        decode_notes(message)


def test_each_kind_of_note_goes_to_its_handler_in_order_and_nonsense_is_counted() -> None:
    heard: list[Note] = []
    handlers = Handlers()
    handlers.on(HeadsNote, heard.append)
    handlers.on(BlockNote, heard.append)
    sent: list[Note] = [HeadsNote("app", {"c": 1}), CursorsNote("app", "c", b""), BlockNote("app", "ann")]
    handlers.deliver(b"no note")
    handlers.deliver(OF_NO_TEXT)
    handlers.deliver(b"\x91" * 100_000)
    handlers.deliver(encode_notes(sent))
    assert heard == [sent[0], sent[2]]
    assert handlers.unreadable == 3
