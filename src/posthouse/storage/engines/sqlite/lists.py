"""A user's conversations: where they stand, and the list with unread counts. Runs in the reader threads.

The inbox lies with the user, everything else with the conversations: no statement joins the two.
"""

from collections.abc import Sequence
from typing import NamedTuple

import apsw
import msgspec

from posthouse.model.conversation import Kind, Role
from posthouse.model.entry import Entry
from posthouse.model.ids import account_id
from posthouse.protocol.frames import Summary
from posthouse.storage.base import Inbox, Listed, UserConv
from posthouse.storage.engines.sqlite.reading import ENTRY_COLUMNS, entry_of
from posthouse.storage.engines.sqlite.transaction import viewing
from posthouse.storage.marks import Mark

_INBOXES = """SELECT user, conv, joined_seq > left_seq FROM inbox
    WHERE app = ?1 AND user IN (SELECT value FROM json_each(?2))"""
_HEADS = "SELECT conv, head FROM log WHERE app = ?1 AND conv IN (SELECT value FROM json_each(?2))"
_MEMBERSHIPS = """SELECT pair.key, from_seq FROM json_each(?2) AS pair
    CROSS JOIN member ON app = ?1 AND conv = pair.value ->> 1 AND user = pair.value ->> 0 AND until_seq IS NULL"""

# The newest interval decides: a member of today, or someone who left and still sees what was before.
_LISTED = """SELECT log.conv, log.kind, log.title, log.head, log.ordinal, log.first_seq, log.members,
        member.role, member.from_seq, member.from_ordinal, member.until_seq,
        coalesce(read_seq, 0), coalesce(read_ordinal, 0), coalesce(delivered_seq, 0),
        iif(member.until_seq IS NULL, log.active_ms, (SELECT at_ms FROM entry
            WHERE app = ?1 AND conv = log.conv AND seq = member.until_seq)) AS active_ms
    FROM json_each(?2) AS wanted
    CROSS JOIN log ON log.app = ?1 AND log.conv = wanted.value
    CROSS JOIN member ON member.app = ?1 AND member.conv = log.conv AND member.user = ?3
        AND member.from_seq = (SELECT max(from_seq) FROM member
            WHERE app = ?1 AND conv = log.conv AND user = ?3)
    LEFT JOIN cursor ON cursor.app = ?1 AND cursor.conv = log.conv AND cursor.user = ?3
    WHERE (active_ms, log.conv) < (?4, ?5)
    ORDER BY active_ms DESC, log.conv DESC LIMIT ?6"""
_LAST = f"""SELECT {ENTRY_COLUMNS} FROM json_each(?2) AS pair
    CROSS JOIN entry ON app = ?1 AND conv = pair.value ->> 0 AND seq = pair.value ->> 1"""
_MENTIONS = """SELECT mention.conv, count(*) FROM json_each(?2) AS pair
    CROSS JOIN mention ON app = ?1 AND conv = pair.value ->> 0 AND user = ?3 AND seq > pair.value ->> 1
    GROUP BY mention.conv"""
_PEERS = """SELECT conv, user FROM json_each(?2) AS wanted
    CROSS JOIN member ON app = ?1 AND conv = wanted.value AND user <> ?3"""


class Row(NamedTuple):
    """A row of `_LISTED`."""

    conv: str
    kind: str
    title: str
    head: int
    ordinal: int
    first_seq: int
    members: int
    role: str
    from_seq: int
    from_ordinal: int
    until_seq: int | None
    read: int
    read_ordinal: int
    delivered: int
    active_ms: int

    @property
    def visible_head(self) -> int:
        return self.head if self.until_seq is None else self.until_seq

    @property
    def floor(self) -> int:
        """What is unread or mentions the user lies beyond this entry."""
        return max(self.read, self.from_seq)

    def listed(self, last: Entry | None, mentions: int, peer: str) -> Listed:
        """The item of the user's list. Nothing counts as unread in a conversation that the user has left."""
        left = self.until_seq is not None
        summary = Summary(
            conv=self.conv,
            kind=Kind(self.kind),
            role=Role(self.role),
            head=self.visible_head,
            first_seq=self.first_seq,
            joined_seq=self.from_seq,
            title=self.title,
            peer=peer,
            members=self.members,
            unread=0 if left else self.ordinal - max(self.read_ordinal, self.from_ordinal),
            mentions=mentions,
            read=self.read,
            delivered=self.delivered,
            left=left,
            last=last,
        )
        return Listed(self.active_ms, summary)


def inboxes(connection: apsw.Connection, app: str, users: Sequence[str]) -> list[Inbox]:
    """As `Log.inboxes` says."""
    with viewing(connection):
        rows = connection.execute(_INBOXES, (app, _json(list(users)))).fetchall()
        accounts = heads(connection, app, [account_id(user) for user in users])
    convs: dict[tuple[str, bool], list[str]] = {}
    for user, conv, joined in rows:
        convs.setdefault((str(user), bool(joined)), []).append(str(conv))
    return [
        Inbox(
            user,
            accounts.get(account_id(user), 0),
            tuple(convs.get((user, True), ())),
            tuple(convs.get((user, False), ())),
        )
        for user in users
    ]


def memberships(connection: apsw.Connection, app: str, pairs: Sequence[UserConv]) -> list[int]:
    """As `Log.memberships` says."""
    found: dict[int, int] = dict(connection.execute(_MEMBERSHIPS, (app, _json(pairs))))
    return [found.get(at, 0) for at in range(len(pairs))]


def heads(connection: apsw.Connection, app: str, convs: Sequence[str]) -> dict[str, int]:
    """As `Log.heads` says."""
    return dict(connection.execute(_HEADS, (app, _json(list(convs)))))


def summaries(
    connection: apsw.Connection, app: str, user: str, convs: Sequence[str], below: Mark, limit: int
) -> list[Listed]:
    """As `Log.summaries` says."""
    with viewing(connection):
        wanted = (app, _json(list(convs)), user, *below, limit)
        return _complete(connection, app, user, [Row(*row) for row in connection.execute(_LISTED, wanted)])


def _complete(connection: apsw.Connection, app: str, user: str, rows: Sequence[Row]) -> list[Listed]:
    """What only the conversations of this page need: last entries, mentions, the peers of direct ones."""
    last = _json([(each.conv, each.visible_head) for each in rows])
    floors = _json([(each.conv, each.floor) for each in rows if each.until_seq is None])
    directs = _json([each.conv for each in rows if each.kind == Kind.DIRECT])
    entries = {entry.conv: entry for entry in map(entry_of, connection.execute(_LAST, (app, last)))}
    mentions = dict(connection.execute(_MENTIONS, (app, floors, user)))
    peers = dict(connection.execute(_PEERS, (app, directs, user)))
    return [
        each.listed(entries.get(each.conv), mentions.get(each.conv, 0), peers.get(each.conv, ""))
        for each in rows
    ]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
