"""What the file says about the system it belongs to. One process has the file, so nobody writes it with an old map."""

import apsw
import msgspec

from posthouse.storage.base import Charter, Owner
from posthouse.storage.engines.sqlite.transaction import writing

_LOAD = "SELECT (SELECT value FROM meta WHERE name = 'charter'), NOT EXISTS (SELECT 1 FROM log)"
_STORE = "INSERT INTO meta VALUES ('charter', ?) ON CONFLICT DO UPDATE SET value = excluded.value"

Said = tuple[list[Owner], dict[str, str]]


def charter(connection: apsw.Connection) -> Charter:
    """As `Database.charter` says."""
    ((text, empty),) = connection.execute(_LOAD).fetchall()
    owners, epochs = msgspec.json.decode(str(text), type=Said) if text else ([], {})
    return Charter(owners, epochs, bool(empty))


def learn(connection: apsw.Connection, said: Charter) -> None:
    """As `Database.learn` says. Shards of SQLite files do not move, so what was dealt stays."""
    with writing(connection):
        own = charter(connection)
        owners, epochs = list(own.owners or said.owners), {**own.epochs, **said.epochs}
        connection.execute(_STORE, (msgspec.json.encode((owners, epochs)).decode(),))
