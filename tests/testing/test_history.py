"""The history checker finds each kind of broken promise, names the entry, and finds nothing where none is broken."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.model.entry import Entry
from posthouse.testing.history import BREACHES_MAX, History, Verdict

ANN = ("ann", "phone")
BOB = ("bob", "phone")


def entry(seq: int, client_id: str = "", sender: str = "ann", text: str = "") -> Entry:
    body = msgspec.Raw(msgspec.json.encode({"text": text or client_id or f"entry {seq}"}))
    return Entry(
        conv="c", seq=seq, kind="message", at_ms=1, ordinal=seq, body=body,
        sender=sender, device="phone", client_id=client_id or f"s{seq}",
    )  # fmt: skip


LOG = [entry(seq) for seq in range(1, 6)]


def told(seqs: Sequence[int] = (1, 2, 3, 4, 5)) -> History:
    """A history in which ann's device made five sends and was told these numbers."""
    history = History("c")
    for seq in range(1, 6):
        history.sent(ANN, f"s{seq}")
    for number, seq in enumerate(seqs, 1):
        history.acked(ANN, f"s{number}", seq)
    return history


def seen(seqs: Sequence[int]) -> Verdict:
    """The verdict on one reader that saw these entries of a log of five."""
    history = told()
    reader = history.reader("bob/phone", 1)
    for seq in seqs:
        reader.see(entry(seq))
    return history.check(LOG)


def only(verdict: Verdict, what: str, promise: str, seq: int) -> None:
    """Assert that exactly one promise is broken, and where."""
    counts = {name: getattr(verdict, name) for name in ("lost", "duplicated", "reordered", "contradicted")}
    assert counts == {**dict.fromkeys(counts, 0), what: 1}, verdict
    assert not verdict.holds
    assert [(breach.promise, breach.seq) for breach in verdict.breaches] == [(promise, seq)]


def test_a_whole_history_holds() -> None:
    verdict = seen([1, 2, 3, 4, 5])
    assert verdict == Verdict(sent=5, acked=5, deliveries=5)
    assert verdict.holds


def test_an_acknowledged_send_that_is_not_in_the_log_is_lost() -> None:
    only(told().check(LOG[:4]), "lost", "G1", 5)


def test_an_acknowledged_send_under_another_number_is_lost_where_it_was_promised() -> None:
    history = told()
    verdict = history.check([*LOG[:3], entry(4, "s5"), entry(5, "s4")])
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


def test_a_send_without_an_answer_promises_nothing() -> None:
    history = told()
    history.sent(ANN, "s6")
    history.sent(ANN, "s7")
    verdict = history.check([*LOG, entry(6, "s7")])
    assert (verdict.holds, verdict.sent, verdict.acked, verdict.unanswered) == (True, 7, 5, 2)


def test_one_devices_sends_out_of_order_in_the_log_are_reordered() -> None:
    history = told(())
    only(history.check([entry(1, "s1"), entry(2, "s3"), entry(3, "s2")]), "reordered", "G3", 3)


def test_sends_of_different_devices_may_stand_in_any_order() -> None:
    history = History("c")
    for device, client_id in ((ANN, "a"), (BOB, "b"), (ANN, "c")):
        history.sent(device, client_id)
    assert history.check([entry(1, "b", "bob"), entry(2, "a"), entry(3, "c")]).holds


def test_a_gap_in_the_logs_numbers_is_a_contradiction() -> None:
    only(History("c").check([entry(1), entry(3)]), "contradicted", "G3", 3)


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
    for name, text in (("bob", ""), ("cid", "something else")):
        reader = history.reader(name, 1)
        for seq in range(1, 6):
            reader.see(entry(seq, text=text if seq == 3 else ""))
    only(history.check(LOG), "contradicted", "G3", 3)


def test_a_reader_that_saw_another_entry_than_the_log_holds_contradicts_it() -> None:
    history = told()
    reader = history.reader("bob", 1)
    for seq in range(1, 6):
        reader.see(entry(seq, text="x" if seq == 4 else ""))
    only(history.check(LOG), "contradicted", "G3", 4)


def test_an_entry_that_was_seen_and_is_not_in_the_log_is_a_contradiction() -> None:
    history = History("c")
    reader = history.reader("bob", 1)
    for seq in (1, 2, 3):
        reader.see(entry(seq))
    only(history.check(LOG[:2]), "contradicted", "G1", 3)


def test_a_reader_need_not_see_what_lies_before_its_first_or_beyond_its_last_entry() -> None:
    history = told()
    reader = history.reader("bob", 2)
    for seq in (2, 3, 4):
        assert not reader.has_all(5)
        reader.see(entry(seq))
    reader.until_seq = 4
    assert reader.has_all(5)
    assert history.check(LOG).holds


def test_a_reader_that_sees_more_than_it_may_is_found() -> None:
    history = told()
    reader = history.reader("bob", 2)
    for seq in range(1, 6):
        reader.see(entry(seq))
    only(history.check(LOG), "duplicated", "G3", 1)


def test_a_reader_lacks_what_it_skipped_until_it_comes() -> None:
    reader = History("c").reader("bob", 1)
    for seq in (1, 3):
        reader.see(entry(seq))
    assert not reader.has_all(3)
    assert reader.missing(4) == [2, 4]
    reader.see(entry(2))
    assert reader.has_all(3)


def after_reset(history: History) -> None:
    """The log went back to entry 3; bob reads on from there."""
    reader = history.reader("bob", 1)
    for seq in range(1, 6):
        reader.see(entry(seq))
    history.reset(3)
    reader.see(entry(4, "n1"))


def test_after_a_reset_the_entries_beyond_may_be_other_ones() -> None:
    history = told()
    after_reset(history)
    history.sent(ANN, "n1")
    history.acked(ANN, "n1", 4)
    verdict = history.check([*LOG[:3], entry(4, "n1")])
    assert verdict.holds, verdict


def test_an_entry_from_before_a_reset_must_not_come_back() -> None:
    history = told()
    after_reset(history)
    history.sent(ANN, "n1")
    verdict = history.check([*LOG[:3], entry(4, "n1"), entry(5, "s5")])
    assert any("come back" in breach.reason for breach in verdict.breaches), verdict


def test_an_unanswered_send_may_come_again_after_a_reset() -> None:
    history = told((1, 2, 3, 4))
    history.reader("bob", 4).see(entry(4, "s5"))
    history.reset(3)
    history.reader("cid", 4).see(entry(4, "s5"))
    verdict = history.check([*LOG[:3], entry(4, "s5")])
    assert verdict.contradicted == 0, verdict


def test_a_device_may_read_the_log_afresh_after_a_reset() -> None:
    history = told(())
    reader = history.reader("bob", 1)
    for seq in range(1, 6):
        reader.see(entry(seq))
    history.reset(3)
    for seq in (2, 3):
        reader.see(entry(seq))
    assert history.check(LOG[:3]).holds


def test_what_is_wrong_is_counted_without_end_and_named_only_so_often() -> None:
    history = told()
    for number in range(BREACHES_MAX):
        history.reader(f"reader {number}", 1)
    verdict = history.check(LOG)
    assert verdict.lost == 5 * BREACHES_MAX
    assert len(verdict.breaches) == BREACHES_MAX


def test_the_verdicts_of_several_logs_add_up() -> None:
    both = seen([1, 2, 3, 4, 5]).plus(seen([1, 2, 3, 4]))
    assert (both.sent, both.deliveries, both.lost, len(both.breaches)) == (10, 9, 1, 1)


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
    history = History("c")
    reader = history.reader("bob", 1)
    for seq in DAMAGES[what](list(range(1, length + 1)), at):
        reader.see(entry(seq))
    verdict = history.check(map(entry, range(1, length + 1)))
    assert {name: getattr(verdict, name) for name in DAMAGES} == {**dict.fromkeys(DAMAGES, 0), what: 1}
