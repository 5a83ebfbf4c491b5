"""The audit: every node can tell what any of them decided, and no flood of events harms it."""

from collections.abc import Sequence

from posthouse.cluster.events import KEPT_MAX, SHARED_BURST, Events
from posthouse.kit.clock import ManualClock


def test_what_one_node_decides_every_node_can_tell() -> None:
    clock = ManualClock()
    one, other = Events("one", lambda: 1, clock), Events("other", lambda: 1, clock)
    one.share = other.hear
    decided = one.record("drain", "one", "the operator asked for it")
    assert other.latest() == one.latest() == [decided]


def test_what_a_node_only_sees_stays_with_it() -> None:
    clock = ManualClock()
    shared: list[Sequence[bytes]] = []
    one = Events("one", lambda: 1, clock)
    one.share = shared.append
    one.record("node", "two", "two is gone", shared=False)
    assert (len(one.latest()), shared) == (1, [])


def test_a_flood_is_kept_in_bounds() -> None:
    clock = ManualClock()
    shared: list[Sequence[bytes]] = []
    one = Events("one", lambda: 1, clock)
    one.share = shared.append
    for number in range(KEPT_MAX + 10):
        one.record("drain", str(number), "why")
    assert len(one.latest(10_000)) == KEPT_MAX
    assert len(shared) == SHARED_BURST
    assert one.unshared == KEPT_MAX + 10 - SHARED_BURST


def test_events_are_chosen_by_kind_and_subject() -> None:
    one = Events("one", lambda: 1, ManualClock())
    one.record("drain", "a", "first")
    one.record("remedy", "a", "second", dry_run=True)
    one.record("remedy", "b", "third")
    assert [each.why for each in one.latest(kind="remedy", subject="a")] == ["second"]
    assert [each.why for each in one.latest(1)] == ["third"]


def test_nonsense_from_the_bus_is_passed_over() -> None:
    one = Events("one", lambda: 1, ManualClock())
    other = Events("other", lambda: 1, ManualClock())
    other.share = lambda events: one.hear([b"\x81\xa4node\xa1\xff", b"\x91" * 100_000, *events])
    one.hear([b"", b"\xc1", b"\x80"])
    assert one.latest() == []
    event = other.record("drain", "other", "what stands beside nonsense is heard")
    assert one.latest() == [event]
