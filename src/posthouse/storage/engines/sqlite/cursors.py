"""Cursors: moved forward in the writer thread, read in the reader threads."""

from collections.abc import Sequence

import apsw
import msgspec

from posthouse.model.conversation import MEMBERS_MAX
from posthouse.model.cursor import Cursor
from posthouse.protocol.frames import MemberCursor
from posthouse.storage.base import CursorUpdate
from posthouse.storage.engines.sqlite.bulk import Bulk
from posthouse.storage.engines.sqlite.transaction import writing

# Only of current members, never past the head, never back; what is read has been delivered. What does not move is
# neither written nor answered.
_ADVANCE = Bulk(
    """WITH said (app, user, conv, read_seq, delivered_seq) AS (:rows)
    INSERT INTO cursor (app, conv, user, read_seq, read_ordinal, delivered_seq)
    SELECT app, conv, user, min(said.read_seq, head),
        coalesce((SELECT ordinal FROM entry
            WHERE entry.app = said.app AND entry.conv = said.conv AND seq = min(said.read_seq, head)), 0),
        min(max(said.read_seq, said.delivered_seq), head)
    FROM said CROSS JOIN log USING (app, conv) CROSS JOIN member USING (app, conv, user)
    WHERE until_seq IS NULL
    ON CONFLICT DO UPDATE SET read_seq = max(read_seq, excluded.read_seq),
        read_ordinal = max(read_ordinal, excluded.read_ordinal),
        delivered_seq = max(delivered_seq, excluded.delivered_seq)
    RETURNING app, user, conv, read_seq, delivered_seq""",
    5,
)
ADVANCE_ROWS_MAX = 1_024
"""More are moved in several transactions, so that no append waits long behind them."""
_OF_MEMBERS = """SELECT user, coalesce(read_seq, 0), coalesce(delivered_seq, 0)
    FROM member LEFT JOIN cursor USING (app, conv, user)
    WHERE app = ?1 AND conv = ?2 AND until_seq IS NULL"""
_OF_ALL = f"{_OF_MEMBERS} ORDER BY user LIMIT {MEMBERS_MAX}"
_OF_SOME = f"{_OF_MEMBERS} AND user IN (SELECT value FROM json_each(?3)) ORDER BY user"


def advance(connection: apsw.Connection, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
    """As `Log.advance` says."""
    rows = [
        (each.app, each.user, each.cursor.conv, each.cursor.read, each.cursor.delivered) for each in updates
    ]
    with writing(connection):
        stored = list(_ADVANCE.run(connection, rows))
    return [CursorUpdate(app, user, Cursor(*at)) for app, user, *at in stored]


def cursors(connection: apsw.Connection, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]:
    """As `Log.cursors` says."""
    if users:
        rows = connection.execute(_OF_SOME, (app, conv, msgspec.json.encode(list(users)).decode()))
    else:
        rows = connection.execute(_OF_ALL, (app, conv))
    return [MemberCursor(*row) for row in rows]
