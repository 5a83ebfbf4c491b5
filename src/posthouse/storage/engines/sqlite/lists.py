"""A user's conversations: where they stand, and the list with unread counts. Runs in the reader threads.

Two steps, never joined: first the inbox, which lies with the user, then the conversations, each with its own shard.
"""

from collections.abc import Sequence
from typing import NamedTuple

import apsw
import msgspec

from posthouse.model.conversation import Kind, Role
from posthouse.model.entry import Entry
from posthouse.model.ids import account_id
from posthouse.protocol.frames import Summary
from posthouse.storage.base import Inbox, Summaries
from posthouse.storage.engines.sqlite.reading import ENTRY_COLUMNS, entry_of
from posthouse.storage.engines.sqlite.transaction import viewing
from posthouse.storage.marks import Mark, mark_of, text_of

_INBOXES = """SELECT user, conv FROM inbox
    WHERE app = ?1 AND user IN (SELECT value FROM json_each(?2)) AND joined_seq > left_seq"""
_HEADS = "SELECT conv, head FROM log WHERE app = ?1 AND conv IN (SELECT value FROM json_each(?2))"
_STILL_MEMBERS = """SELECT user, conv FROM json_each(?2) AS pair
    CROSS JOIN member ON app = ?1 AND conv = pair.value ->> 1 AND user = pair.value ->> 0 AND until_seq IS NULL
    ORDER BY pair.key"""

_INBOX = "SELECT conv FROM inbox WHERE app = ? AND user = ?"
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


class Listed(NamedTuple):
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

    def summary(self, last: Entry | None, mentions: int, peer: str) -> Summary:
        """The item of the user's list. Nothing counts as unread in a conversation that the user has left."""
        left = self.until_seq is not None
        return Summary(
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


def inboxes(connection: apsw.Connection, app: str, users: Sequence[str]) -> list[Inbox]:
    """As `Log.inboxes` says. An inbox may lag behind; who is a member is asked of the conversations themselves."""
    with viewing(connection):
        pairs = connection.execute(_INBOXES, (app, _json(list(users)))).fetchall()
        followed = connection.execute(_STILL_MEMBERS, (app, _json(pairs))).fetchall()
        accounts = heads(connection, app, [account_id(user) for user in users])
    convs: dict[str, list[str]] = {user: [] for user in users}
    for user, conv in followed:
        convs[str(user)].append(str(conv))
    return [Inbox(user, accounts.get(account_id(user), 0), tuple(convs[user])) for user in users]


def heads(connection: apsw.Connection, app: str, convs: Sequence[str]) -> dict[str, int]:
    """As `Log.heads` says."""
    return dict(connection.execute(_HEADS, (app, _json(list(convs)))))


def summaries(connection: apsw.Connection, app: str, user: str, page: str, limit: int) -> Summaries:
    """As `Log.summaries` says."""
    with viewing(connection):
        convs = [conv for (conv,) in connection.execute(_INBOX, (app, user))]
        wanted = (app, _json(convs), user, *mark_of(page), limit + 1)
        listed = [Listed(*row) for row in connection.execute(_LISTED, wanted)]
        more, listed = len(listed) > limit, listed[:limit]
        items = _complete(connection, app, user, listed)
    return Summaries(tuple(items), text_of(Mark(listed[-1].active_ms, listed[-1].conv)) if more else "")


def _complete(connection: apsw.Connection, app: str, user: str, listed: Sequence[Listed]) -> list[Summary]:
    """What only the conversations of this page need: last entries, mentions, the peers of direct ones."""
    last = _json([(each.conv, each.visible_head) for each in listed])
    floors = _json([(each.conv, each.floor) for each in listed if each.until_seq is None])
    directs = _json([each.conv for each in listed if each.kind == Kind.DIRECT])
    entries = {entry.conv: entry for entry in map(entry_of, connection.execute(_LAST, (app, last)))}
    mentions = dict(connection.execute(_MENTIONS, (app, floors, user)))
    peers = dict(connection.execute(_PEERS, (app, directs, user)))
    return [
        each.summary(entries.get(each.conv), mentions.get(each.conv, 0), peers.get(each.conv, ""))
        for each in listed
    ]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
