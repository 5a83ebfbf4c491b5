"""The history checker finds each kind of broken promise, names the entry, and finds nothing where none is broken."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.model.entry import CREATED, MEMBER_JOINED, MEMBER_LEFT, Entry
from posthouse.testing.history import BREACHES_MAX, History, Reader, Verdict

ANN = ("ann", "phone")
BOB = ("bob", "phone")


def entry(seq: int, client_id: str = "", sender: str = "ann", text: str = "") -> Entry:
    body = msgspec.Raw(msgspec.json.encode({"text": text or client_id or f"entry {seq}"}))
    return Entry(
        conv="c", seq=seq, kind="message", at_ms=1, ordinal=seq, body=body,
        sender=sender, device="phone", client_id=client_id or f"s{seq}",
    )  # fmt: skip


def kind_of(entry: Entry, kind: str) -> Entry:
    """The same, of another kind."""
    return msgspec.structs.replace(entry, kind=kind)


def membership(seq: int, kind: str, *users: str) -> Entry:
    return Entry(
        conv="c",
        seq=seq,
        kind=kind,
        at_ms=1,
        ordinal=0,
        body=msgspec.Raw(msgspec.json.encode({"users": users})),
    )


CREATION = membership(1, CREATED, "ann", "bob", "cid")
LOG = [CREATION, *(entry(seq) for seq in range(2, 6))]


def told(seqs: Sequence[int] = (2, 3, 4, 5)) -> History:
    """A history in which ann's device made the sends s2 to s5 and was told these numbers."""
    history = History("c")
    for seq in range(2, 6):
        history.sent(ANN, f"s{seq}")
    for number, seq in enumerate(seqs, 2):
        history.acked(ANN, f"s{number}", seq)
    return history


def show(history: History, seqs: Sequence[int], log: Sequence[Entry] = LOG, user: str = "bob") -> Reader:
    """A reader that saw these entries of a log."""
    reader = history.reader(f"{user}/phone", user)
    for seq in seqs:
        reader.see(log[seq - 1])
    return reader


def seen(seqs: Sequence[int]) -> Verdict:
    """The verdict on one reader that saw these entries of `LOG`."""
    history = told()
    show(history, seqs)
    return history.check(LOG)


def only(verdict: Verdict, what: str, promise: str, seq: int) -> None:
    """Assert that exactly one promise is broken, and where."""
    counts = {name: getattr(verdict, name) for name in ("lost", "duplicated", "reordered", "contradicted")}
    assert counts == {**dict.fromkeys(counts, 0), what: 1}, verdict
    assert not verdict.holds
    assert [(breach.promise, breach.seq) for breach in verdict.breaches] == [(promise, seq)]


def test_a_whole_history_holds() -> None:
    verdict = seen([1, 2, 3, 4, 5])
    assert verdict == Verdict(sent=4, acked=4, deliveries=5)
    assert verdict.holds


def test_an_acknowledged_send_that_is_not_in_the_log_is_lost() -> None:
    only(told().check(LOG[:4]), "lost", "G1", 5)


def test_an_acknowledged_send_under_another_number_is_lost_where_it_was_promised() -> None:
    verdict = told().check([*LOG[:3], entry(4, "s5"), entry(5, "s4")])
    assert verdict.lost == 2
    assert [breach.seq for breach in verdict.breaches if breach.promise == "G1"] == [4, 5]


def test_two_acks_with_different_numbers_contradict_each_other() -> None:
    history = told()
    history.acked(ANN, "s2", 2)
    history.acked(ANN, "s3", 4)
    only(history.check(LOG), "contradicted", "G2", 4)


def test_a_send_that_is_in_the_log_twice_is_duplicated() -> None:
    only(told().check([*LOG, entry(6, "s2")]), "duplicated", "G2", 6)


def test_a_refused_send_in_the_log_is_a_contradiction() -> None:
    history = told()
    history.sent(ANN, "s6")
    history.refused(ANN, "s6")
    only(history.check([*LOG, entry(6)]), "contradicted", "G2", 6)


def test_an_entry_that_its_device_never_sent_is_a_contradiction() -> None:
    only(told().check([*LOG, entry(6)]), "contradicted", "G2", 6)


def test_a_send_whose_body_was_exchanged_in_the_log_is_a_contradiction() -> None:
    """Also when it was acknowledged and all readers agree with the log."""
    history = told(())
    history.sent(ANN, "s6", bytes(entry(6).body))
    history.sent(ANN, "s7", bytes(entry(7).body))
    log = [*LOG, entry(6), entry(7, text="something else")]
    history.acked(ANN, "s7", 7)
    show(history, range(1, 8), log)
    only(history.check(log), "contradicted", "G2", 7)


def test_a_message_of_a_device_that_sent_none_is_a_contradiction_where_all_sends_are_told() -> None:
    def check(log: Sequence[Entry], **knows: bool) -> Verdict:
        history = History("c", **knows)
        history.sent(BOB, "b")
        return history.check(log)

    log = [CREATION, entry(2, "b", "bob"), entry(3)]
    only(check(log, knows_all=True), "contradicted", "G2", 3)
    only(check([*log[:2], kind_of(log[2], "x.wave")], knows_all=True), "contradicted", "G2", 3)
    assert check(log).holds, "ann's device is not followed"


def test_what_back_ends_say_and_what_the_server_notes_was_sent_by_no_device() -> None:
    by_back_end = msgspec.structs.replace(entry(2), device="")
    by_ann = msgspec.structs.replace(membership(3, MEMBER_JOINED, "dan"), sender="ann", device="phone")
    assert History("c", knows_all=True).check([CREATION, by_back_end, by_ann]).holds


def test_a_send_without_an_answer_promises_nothing() -> None:
    history = told()
    history.sent(ANN, "s6")
    history.sent(ANN, "s7")
    verdict = history.check([*LOG, entry(6, "s7")])
    assert (verdict.holds, verdict.sent, verdict.acked, verdict.unanswered) == (True, 6, 4, 2)


def test_one_devices_sends_out_of_order_in_the_log_are_reordered() -> None:
    only(told(()).check([CREATION, entry(2, "s2"), entry(3, "s4"), entry(4, "s3")]), "reordered", "G3", 4)


def test_sends_of_different_devices_may_stand_in_any_order() -> None:
    history = History("c")
    for device, client_id in ((ANN, "a"), (BOB, "b"), (ANN, "c")):
        history.sent(device, client_id)
    assert history.check([CREATION, entry(2, "b", "bob"), entry(3, "a"), entry(4, "c")]).holds


def test_a_gap_in_the_logs_numbers_is_a_contradiction() -> None:
    only(History("c").check([CREATION, entry(3)]), "contradicted", "G3", 3)


@pytest.mark.parametrize(
    ("seqs", "what", "promise", "seq"),
    [
        ([1, 2, 3, 4], "lost", "G4", 5),
        ([1, 2, 4, 5], "lost", "G4", 3),
        ([2, 3, 4, 5], "lost", "G4", 1),
        ([1, 2, 2, 3, 4, 5], "duplicated", "G3", 2),
        ([1, 2, 3, 4, 5, 1], "duplicated", "G3", 1),
        ([1, 3, 2, 4, 5], "reordered", "G3", 2),
    ],
)
def test_a_reader_whose_stream_is_not_the_log_is_found(
    seqs: list[int], what: str, promise: str, seq: int
) -> None:
    only(seen(seqs), what, promise, seq)


def test_two_readers_that_see_different_entries_under_one_number_contradict_each_other() -> None:
    history = told()
    show(history, range(1, 6))
    show(history, range(1, 6), [*LOG[:2], entry(3, text="something else"), *LOG[3:]], "cid")
    only(history.check(LOG), "contradicted", "G3", 3)


def test_a_reader_that_saw_another_entry_than_the_log_holds_contradicts_it() -> None:
    history = told()
    show(history, range(1, 6), [*LOG[:3], entry(4, text="something else"), *LOG[4:]])
    only(history.check(LOG), "contradicted", "G3", 4)


def test_an_entry_that_was_seen_and_is_not_in_the_log_is_a_contradiction() -> None:
    history = History("c")
    show(history, (1, 2, 3))
    verdict = history.check(LOG[:2])
    assert [(breach.promise, breach.seq) for breach in verdict.breaches] == [("G1", 3), ("G4", 3)]


# bob is there from 3 to 5 and again from 8 on; dan never.
COMING_AND_GOING = [
    membership(1, CREATED, "ann"),
    entry(2),
    membership(3, MEMBER_JOINED, "bob"),
    entry(4),
    membership(5, MEMBER_LEFT, "bob"),
    entry(6),
    entry(7),
    membership(8, MEMBER_JOINED, "bob"),
    entry(9),
]


@pytest.mark.parametrize(
    ("seqs", "lost", "contradicted"),
    [
        ([3, 4, 5, 8, 9], [], []),
        ([4, 5, 8, 9], [3], []),
        ([3, 4, 8, 9], [5], []),
        ([3, 4, 5, 9], [8], []),
        ([3, 4, 5], [8, 9], []),
        ([], [3, 4, 5, 8, 9], []),
        ([2, 3, 4, 5, 8, 9], [], [2]),
        ([3, 4, 5, 6, 8, 9], [], [6]),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [], [1, 2, 6, 7]),
    ],
)
def test_a_member_sees_exactly_what_was_written_while_they_were_there(
    seqs: list[int], lost: list[int], contradicted: list[int]
) -> None:
    history = History("c")
    show(history, seqs, COMING_AND_GOING)
    assert bool(history.lagging(COMING_AND_GOING)) is bool(lost)
    verdict = history.check(COMING_AND_GOING)
    assert (verdict.lost, verdict.contradicted) == (len(lost), len(contradicted))
    assert [breach.seq for breach in verdict.breaches] == lost + contradicted


def test_where_newcomers_see_all_a_member_must_see_what_was_before() -> None:
    history = History("c", shows_all=True)
    reader = show(history, [1, 2, 3, 4, 5], COMING_AND_GOING[:5])
    assert history.lagging(COMING_AND_GOING[:5]) == []
    assert history.lagging(COMING_AND_GOING) == [reader]


def test_who_never_was_a_member_may_see_nothing() -> None:
    history = History("c")
    show(history, [2], COMING_AND_GOING, "dan")
    only(history.check(COMING_AND_GOING), "contradicted", "G4", 2)


def test_after_a_reset_the_entries_beyond_may_be_other_ones() -> None:
    history = told()
    show(history, range(1, 6))
    history.reset(3)
    history.sent(ANN, "n1")
    history.acked(ANN, "n1", 4)
    log = [*LOG[:3], entry(4, "n1")]
    show(history, range(1, 5), log, "cid")
    only(history.check(log), "lost", "G4", 4)  # bob has not come back


def test_a_device_may_read_afresh_after_a_reset_from_any_entry_before() -> None:
    history = told(())
    reader = show(history, range(1, 6))
    history.reset(3)
    for seq in (2, 3):
        reader.see(LOG[seq - 1])
    assert history.check(LOG[:3]).holds


def test_what_a_reader_lacked_before_a_reset_it_still_lacks() -> None:
    history = told(())
    show(history, (1, 3, 5))
    history.reset(4)
    verdict = history.check(LOG[:4])
    assert [breach.seq for breach in verdict.breaches] == [2, 4]


def test_an_acknowledged_entry_from_before_a_reset_must_not_come_back() -> None:
    history = told()
    history.reset(3)
    verdict = history.check([*LOG[:3], entry(4, "s5")])
    assert any("come back" in breach.reason for breach in verdict.breaches), verdict


def test_an_unanswered_send_may_come_again_after_a_reset() -> None:
    history = told((2, 3, 4))
    show(history, range(1, 6))
    history.reset(3)
    verdict = history.check([*LOG[:3], entry(4, "s5")])
    assert verdict.contradicted == 0, verdict


def test_what_is_wrong_is_counted_without_end_and_named_only_so_often() -> None:
    history = told()
    for _ in range(BREACHES_MAX):
        history.reader("bob", "bob")
    verdict = history.check(LOG)
    assert verdict.lost == 5 * BREACHES_MAX
    assert len(verdict.breaches) == BREACHES_MAX


def test_the_verdicts_of_several_logs_add_up() -> None:
    both = seen([1, 2, 3, 4, 5]).plus(seen([1, 2, 3, 4]))
    assert (both.sent, both.deliveries, both.lost, len(both.breaches)) == (8, 9, 1, 1)


Damage = Callable[[list[int], int], list[int]]
DAMAGES: dict[str, Damage] = {
    "lost": lambda seqs, at: seqs[:at] + seqs[at + 1 :],
    "duplicated": lambda seqs, at: [*seqs[: at + 1], *seqs[at:]],
    "reordered": lambda seqs, at: [*seqs[:at], seqs[at + 1], seqs[at], *seqs[at + 2 :]],
}


@given(
    st.sampled_from(sorted(DAMAGES)),
    st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 2))),
)
def test_any_single_damage_to_a_stream_is_counted_once_as_what_it_is(
    what: str, place: tuple[int, int]
) -> None:
    length, at = place
    log = [CREATION, *map(entry, range(2, length + 1))]
    history = History("c")
    show(history, DAMAGES[what](list(range(1, length + 1)), at), log)
    verdict = history.check(log)
    assert {name: getattr(verdict, name) for name in DAMAGES} == {**dict.fromkeys(DAMAGES, 0), what: 1}
