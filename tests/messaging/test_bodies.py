"""What the server reads of the bodies it has written itself."""

import msgspec
import pytest

from posthouse.messaging.bodies import AccountBody, account_body, users_of
from posthouse.model.conversation import Kind, Role
from posthouse.model.entry import ACCOUNT_JOINED, ACCOUNT_LEFT, CREATED, MEMBER_LEFT, Entry
from posthouse.storage.base import Append, Create, InboxChange, Join, Leave
from posthouse.storage.changes import kind_of
from posthouse.storage.rows import EntryRow
from tests.storage.memory import NOW_MS, Tables


def written(tables: Tables, conv: str, change: Create | Join | Leave | InboxChange) -> Entry:
    """The entry that reports a change, as the planner writes it."""
    append = Append(
        app="app",
        conv=conv,
        kind=kind_of(change),
        client_id=str(len(tables.entries)),
        made_at_ms=0,
        body=b'{"by":"the application"}',
        change=change,
        trusted=True,
    )
    tables.append(append)
    return entry_of(tables.entries[-1])


def entry_of(row: EntryRow) -> Entry:
    return Entry(
        conv=row.conv, seq=row.seq, kind=row.kind, at_ms=NOW_MS, ordinal=0, body=msgspec.Raw(row.body)
    )


def test_a_membership_entry_names_those_whom_it_really_concerns() -> None:
    tables = Tables()
    members = (("ann", Role.OWNER), ("ben", Role.MEMBER))
    assert users_of(written(tables, "c", Create(kind=Kind.GROUP, members=members))) == ("ann", "ben")
    assert users_of(written(tables, "c", Join(("ben", "cyd")))) == ("cyd",)
    assert users_of(written(tables, "c", Leave(("ann", "eve")))) == ("ann",)


def test_an_account_entry_names_the_conversation_and_where_membership_began_or_ended() -> None:
    tables = Tables()
    joined = written(tables, "~ann", InboxChange("c", 3))
    left = written(tables, "~ann", InboxChange("c", 0, 9))
    assert (joined.kind, account_body(joined)) == (ACCOUNT_JOINED, AccountBody("c", 3, 0))
    assert (left.kind, account_body(left)) == (ACCOUNT_LEFT, AccountBody("c", 0, 9))


@pytest.mark.parametrize("kind", [CREATED, MEMBER_LEFT])
def test_unknown_fields_are_passed_over_and_missing_users_are_none(kind: str) -> None:
    body = msgspec.Raw(b'{"reason":{"deep":[1]},"users":["ann"]}')
    entry = Entry(conv="c", seq=1, kind=kind, at_ms=1, ordinal=0, body=body)
    assert users_of(entry) == ("ann",)
    assert users_of(msgspec.structs.replace(entry, body=msgspec.Raw(b"{}"))) == ()
