"""The planner keeps its promises for any sequence of appends, however they are cut into batches."""

from collections.abc import Sequence

from hypothesis import given, strategies as st

from posthouse.model.conversation import Kind, Role
from posthouse.model.ids import account_id
from posthouse.storage.append import content_digest, needs, plan
from posthouse.storage.base import (
    Append,
    Appended,
    Change,
    Create,
    Describe,
    InboxChange,
    Join,
    Leave,
    Outcome,
    Refused,
    SetRole,
)
from posthouse.storage.changes import kind_of
from tests.storage.memory import NOW_MS, Tables

USERS = st.sampled_from(["ann", "ben", "cat"])
CONVS = st.sampled_from(["g", "h"])
ROLES = st.sampled_from([Role.OWNER, Role.ADMIN, Role.MEMBER])
GROUPS = st.lists(USERS, min_size=1, max_size=3, unique=True).map(tuple)


def send(conv: str, sender: str, client_id: str, **fields: object) -> Append:
    given_ = {"kind": "message", "made_at_ms": NOW_MS, "body": b'{"text":"hello"}', "device": "d"} | fields
    return Append(app="a", conv=conv, sender=sender, client_id=client_id, **given_)  # type: ignore[arg-type]


def change(conv: str, sender: str, client_id: str, change: Change, trusted: bool) -> Append:
    fields = {"kind": kind_of(change), "body": b"{}", "change": change, "trusted": trusted}
    return send(conv, sender, client_id, **fields)


SENDS = st.builds(
    send,
    CONVS,
    USERS,
    st.sampled_from(["k1", "k2", "k3", "k4", "k5"]),
    kind=st.sampled_from(["message", "message", "x.poll"]),
    body=st.sampled_from([b'{"text":"1"}', b'{"text":"2"}']),
    mentions=st.lists(USERS, max_size=2).map(tuple),
    reply_to=st.integers(0, 3),
)
CHANGES = st.one_of(
    st.builds(
        lambda users, role: Create(kind=Kind.GROUP, members=tuple((user, role) for user in users)),
        GROUPS,
        ROLES,
    ),
    st.builds(Join, GROUPS, ROLES),
    st.builds(Leave, GROUPS),
    st.builds(SetRole, USERS, ROLES),
    st.builds(lambda title: Describe(title=title), st.sampled_from(["one", "two"])),
)
CHANGE_APPENDS = st.builds(
    change, CONVS, USERS, st.integers(0, 30).map("change-{}".format), CHANGES, st.booleans()
)
APPENDS = st.lists(st.one_of(SENDS, SENDS, CHANGE_APPENDS), min_size=1, max_size=40)
FOUNDING = [
    change(
        "g", "", "create", Create(kind=Kind.GROUP, members=(("ann", Role.OWNER), ("ben", Role.MEMBER))), True
    )
]


def run(appends: Sequence[Append], sizes: Sequence[int]) -> tuple[Tables, list[Outcome]]:
    """Append all, cut into batches of the given sizes in turn."""
    tables, outcomes = Tables(), list[Outcome]()
    at = turn = 0
    while at < len(appends):
        batch = appends[at : at + sizes[turn % len(sizes)]]
        outcomes += tables.append(*batch)
        at, turn = at + len(batch), turn + 1
    return tables, outcomes


SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=5)


@given(APPENDS, SIZES)
def test_logs_have_no_gaps_and_ordinals_count_the_messages(appends: list[Append], sizes: list[int]) -> None:
    """G3: seq counts 1, 2, 3 …; ordinal is the number of messages up to the entry; the log's row agrees."""
    tables, _ = run([*FOUNDING, *appends], sizes)
    for (_, conv), row in tables.logs.items():
        entries = tables.log(conv)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        messages = [sum(each.kind == "message" for each in entries[: at + 1]) for at in range(len(entries))]
        assert [entry.ordinal for entry in entries] == messages
        assert (row.head, row.ordinal) == (entries[-1].seq, entries[-1].ordinal)
        assert row.members == len(tables.current(conv))


@given(APPENDS, SIZES)
def test_how_appends_are_cut_into_batches_makes_no_difference(
    appends: list[Append], sizes: list[int]
) -> None:
    """Group commit is invisible: every append gets the outcome, and leaves the rows, that it would alone."""
    appends = [*FOUNDING, *appends]
    together, outcomes = run(appends, sizes)
    alone, expected = run(appends, [1])
    assert outcomes == expected
    assert together.logs == alone.logs
    assert together.entries == alone.entries
    assert together.mentions == alone.mentions
    assert sorted(map(repr, together.members)) == sorted(map(repr, alone.members))


@given(APPENDS, SIZES, SIZES)
def test_sending_everything_again_changes_nothing(
    appends: list[Append], sizes: list[int], again: list[int]
) -> None:
    """G2: what was appended is answered with the same numbers, as a duplicate, and nothing is written."""
    appends = [*FOUNDING, *appends]
    tables, first = run(appends, sizes)
    settled = [
        (append, outcome) for append, outcome in zip(appends, first, strict=True) if _in_log(tables, append)
    ]
    entries = list(tables.entries)
    for append, outcome in settled:
        (repeated,) = tables.append(append, now_ms=NOW_MS + 1)
        if isinstance(outcome, Appended):
            assert repeated == Appended(outcome.seq, outcome.at_ms, outcome.ordinal, duplicate=True)
        else:
            assert repeated == outcome
    assert tables.entries == entries


def _in_log(tables: Tables, append: Append) -> bool:
    """Whether this very content is in the log under this key."""
    key = (append.conv, append.sender, append.device, append.client_id, content_digest(append))
    return any(
        (each.conv, each.sender, each.device, each.client_id, each.digest) == key for each in tables.entries
    )


@given(APPENDS, SIZES)
def test_intervals_of_a_member_do_not_overlap(appends: list[Append], sizes: list[int]) -> None:
    """Each ends before the next begins, at an entry that reports it, and only the last may be open."""
    tables, _ = run([*FOUNDING, *appends], sizes)
    for conv in ("g", "h"):
        kinds = {entry.seq: entry.kind for entry in tables.log(conv)}
        for user in ("ann", "ben", "cat"):
            rows = sorted(
                (r for r in tables.members if (r.conv, r.user) == (conv, user)), key=lambda r: r.from_seq
            )
            for row, following in zip(rows, [*rows[1:], None], strict=False):
                assert kinds[row.from_seq] in ("member.joined", "conversation.created")
                assert row.until_seq is None or kinds[row.until_seq] == "member.left"
                assert following is None or (row.until_seq or 2**60) < following.from_seq


@given(APPENDS, SIZES)
def test_only_members_write_and_only_members_are_mentioned(appends: list[Append], sizes: list[int]) -> None:
    """P-8.5: replayed from the intervals: at each seq, the untrusted sender and everyone mentioned was a member."""
    tables, outcomes = run([*FOUNDING, *appends], sizes)

    def was_member(conv: str, user: str, seq: int) -> bool:
        return any(
            (row.conv, row.user) == (conv, user) and row.from_seq <= seq <= (row.until_seq or seq)
            for row in tables.members
        )

    for append, outcome in zip([*FOUNDING, *appends], outcomes, strict=True):
        if isinstance(outcome, Appended) and not outcome.duplicate and not append.trusted:
            assert was_member(append.conv, append.sender, outcome.seq)
    for mention in tables.mentions:
        assert was_member(mention.conv, mention.user, mention.seq)


def test_logs_are_locked_in_one_order_however_the_batch_is_ordered() -> None:
    """Two engines' sessions that lock the same logs lock them in the same order, so neither waits for the other."""
    appends = [send(conv, "ann", "k") for conv in ("c", "a", "b", "a")]
    assert needs(appends).logs == needs(appends[::-1]).logs
    assert needs(appends).logs == [("a", "a"), ("a", "b"), ("a", "c")]


def test_needs_leave_out_what_no_database_could_look_up() -> None:
    """A lone surrogate would fail the query that loads the whole batch, before anything is decided."""
    odd = [send("g\ud800", "ann", "k"), send("g", "ann", "k\0"), send("g", "ann", "k", mentions=("\0",))]
    assert needs(odd) == ([], [], [])
    outcomes = plan(odd, Tables().load(odd), NOW_MS).outcomes
    assert all(isinstance(outcome, Refused) for outcome in outcomes)


def test_an_account_log_begins_with_its_first_entry() -> None:
    """The user's list gets a row in the shard of the account log."""
    tables = Tables()
    (outcome,) = tables.append(change(account_id("ann"), "", "k", InboxChange("g", 3), True))
    assert isinstance(outcome, Appended)
    assert outcome.seq == 1
    (row,) = tables.inbox
    assert (row.user, row.conv, row.joined_seq, row.left_seq) == ("ann", "g", 3, 0)
    assert row.shard == tables.logs["a", "~ann"].shard


def test_a_digest_covers_everything_but_the_key_and_the_time() -> None:
    """G2: what is compared is what would be written."""
    base = send("g", "ann", "k")
    same = [
        send("g", "ann", "k", made_at_ms=5),
        send("h", "ben", "j", device="e"),
        send("g", "ann", "k", trusted=True),
    ]
    assert {content_digest(each) for each in same} == {content_digest(base)}
    other = [
        send("g", "ann", "k", body=b'{"text":"hello" }'),
        send("g", "ann", "k", kind="x.y"),
        send("g", "ann", "k", reply_to=1),
        send("g", "ann", "k", mentions=("ben",)),
        send("g", "ann", "k", mentions=("be", "n")),
        change("g", "ann", "k", Join(("ben",)), False),
        change("g", "ann", "k", Join(("ben",), Role.ADMIN), False),
    ]
    assert len({content_digest(each) for each in [base, *other]}) == len(other) + 1


def test_a_new_field_with_a_default_leaves_old_digests_as_they_are() -> None:
    """A retry across an upgrade must not conflict with itself: defaults are not part of a change's encoding."""
    assert (
        content_digest(change("g", "ann", "k", Join(("ben",)), False)).hex()
        == "8335da8c524d82bd8d5a5b9c83ee01b9"
    )
