"""Cutting a log back at its beginning. What is dropped is no longer recognised when it is sent again."""

from collections.abc import Sequence

from posthouse.model.ids import INTEGER_MAX
from posthouse.storage.base import Moved
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.keys import possible
from posthouse.storage.engines.postgres.ownership import guard

# The log's row first, as in every write. Its newest entry always stays.
_FIRST = """
UPDATE log SET first_seq = least($3, head) WHERE app = $1 AND conv = $2 AND first_seq < least($3, head)
RETURNING first_seq
"""
_MENTIONS = "DELETE FROM mention WHERE app = $1 AND conv = $2 AND seq < $3"
_ENTRIES = "DELETE FROM entry WHERE app = $1 AND conv = $2 AND seq < $3"


async def trim(connection: Connection, app: str, conv: str, first_seq: int, own: Sequence[int]) -> None:
    """As `Trimming.trim` says, inside a transaction that has locked the shard `own`. Not while it is being moved."""
    elsewhere, noted = await guard(connection, own)
    if elsewhere or noted:
        raise Moved(f"shard {own[0]} is written elsewhere now, or about to be")
    if not possible(app) or not possible(conv):
        return
    first = await connection.fetchval(_FIRST, app, conv, min(first_seq, INTEGER_MAX))
    if first is not None:
        await connection.execute(_MENTIONS, app, conv, first)
        await connection.execute(_ENTRIES, app, conv, first)
