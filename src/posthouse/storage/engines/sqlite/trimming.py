"""Cutting a log back at its beginning, in the writer thread. What is dropped is no longer recognised when sent again.

The newest entry of a log always stays, so the highest number of the feed is never given twice.
"""

import apsw

from posthouse.storage.engines.sqlite.transaction import writing

_FIRST = """UPDATE log SET first_seq = min(?3, head) WHERE app = ?1 AND conv = ?2 AND first_seq < min(?3, head)
    RETURNING first_seq"""
_MENTIONS = "DELETE FROM mention WHERE app = ?1 AND conv = ?2 AND seq < ?3"
_ENTRIES = "DELETE FROM entry WHERE app = ?1 AND conv = ?2 AND seq < ?3"


def trim(connection: apsw.Connection, app: str, conv: str, first_seq: int) -> None:
    """As `Trimming.trim` says."""
    with writing(connection):
        for (first,) in connection.execute(_FIRST, (app, conv, min(first_seq, 2**53 - 1))).fetchall():
            connection.execute(_MENTIONS, (app, conv, first))
            connection.execute(_ENTRIES, (app, conv, first))
