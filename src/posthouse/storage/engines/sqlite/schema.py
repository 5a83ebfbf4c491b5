"""The schema of a SQLite database, as migrations that only go forward, each in a transaction of its own.

`app` leads every key, `shard` stands in every row that a shard owns. Foreign keys are off: rows are written only by
the planner's transactions, and checking them again would look up every parent twice.
"""

import apsw

from posthouse.storage.base import StorageUnavailable

APPLICATION_ID = 0x506F7374
"""Written into the file's header, so that another program's database is not taken for ours: "Post"."""

_FIRST = """
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
    app TEXT NOT NULL,
    conv TEXT NOT NULL,
    shard INTEGER NOT NULL,
    kind TEXT NOT NULL,
    history TEXT NOT NULL,
    head INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    active_ms INTEGER NOT NULL,
    members INTEGER NOT NULL,
    first_seq INTEGER NOT NULL DEFAULT 1,
    created_ms INTEGER NOT NULL,
    origin BLOB NOT NULL,
    home_region TEXT NOT NULL DEFAULT '',
    title TEXT NOT NULL,
    properties BLOB NOT NULL,
    PRIMARY KEY (app, conv)
) STRICT, WITHOUT ROWID;

-- `number` is the feed's order. Rows go to the end of the table, so a commit touches few of its pages; the two
-- indexes find an entry by its place in its log and by the name that its sender gave it.
CREATE TABLE entry (
    number INTEGER PRIMARY KEY,
    app TEXT NOT NULL,
    conv TEXT NOT NULL,
    seq INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    kind TEXT NOT NULL,
    sender TEXT NOT NULL,
    device TEXT NOT NULL,
    client_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    reply_to INTEGER NOT NULL,
    mentions TEXT,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX entry_seq ON entry (app, conv, seq);
CREATE UNIQUE INDEX entry_send ON entry (app, conv, sender, device, client_id);
-- Readers of the feed that ask for certain kinds do not scan the messages between.
CREATE INDEX entry_kind ON entry (kind) WHERE kind <> 'message';

CREATE TABLE member (
    app TEXT NOT NULL,
    conv TEXT NOT NULL,
    user TEXT NOT NULL,
    from_seq INTEGER NOT NULL,
    until_seq INTEGER,
    from_ordinal INTEGER NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (app, conv, user, from_seq)
) STRICT, WITHOUT ROWID;

-- `read_ordinal` is the ordinal of the entry `read_seq`: what is unread follows without looking that entry up.
CREATE TABLE cursor (
    app TEXT NOT NULL,
    conv TEXT NOT NULL,
    user TEXT NOT NULL,
    read_seq INTEGER NOT NULL,
    read_ordinal INTEGER NOT NULL,
    delivered_seq INTEGER NOT NULL,
    PRIMARY KEY (app, conv, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE mention (
    app TEXT NOT NULL,
    conv TEXT NOT NULL,
    user TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (app, conv, user, seq)
) STRICT, WITHOUT ROWID;

-- Lies with its user, not with the conversation: which conversations to look at, never what may be seen in them.
CREATE TABLE inbox (
    app TEXT NOT NULL,
    user TEXT NOT NULL,
    conv TEXT NOT NULL,
    shard INTEGER NOT NULL,
    joined_seq INTEGER NOT NULL,
    left_seq INTEGER NOT NULL,
    PRIMARY KEY (app, user, conv)
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    app TEXT NOT NULL,
    user TEXT NOT NULL,
    shard INTEGER NOT NULL,
    name TEXT NOT NULL,
    avatar TEXT NOT NULL,
    properties BLOB NOT NULL,
    blocked INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    home_region TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (app, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_blocked ON user (app) WHERE blocked;

CREATE TABLE feed_reader (
    reader TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_HEADER = """SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
    FROM pragma_application_id, pragma_user_version"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Migration n brings a database from schema version n to n + 1."""


def migrate(connection: apsw.Connection, shards: int, now_ms: int) -> None:
    """Bring the schema up to date. Raises `StorageUnavailable` when the file is not ours or is too new."""
    while True:
        version = _version(connection)
        if version == len(MIGRATIONS):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) == version:
                _step(connection, version, shards, now_ms)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def check_current(connection: apsw.Connection) -> None:
    """Raise `StorageUnavailable` unless the schema is the newest that this program knows."""
    if _version(connection) != len(MIGRATIONS):
        raise StorageUnavailable(f"{connection.filename} must be upgraded, but it cannot be written")


def load_facts(connection: apsw.Connection) -> dict[str, object]:
    """What the database says about itself."""
    return dict(connection.execute("SELECT name, value FROM meta"))


def write_probe(connection: apsw.Connection, now_ms: int) -> None:
    """Commit a write, durably, to find out whether that is possible."""
    connection.execute("UPDATE meta SET value = ? WHERE name = 'probed_ms'", (now_ms,))


def _version(connection: apsw.Connection) -> int:
    """The schema version of a database that is ours or empty."""
    header = [int(str(value)) for value in connection.execute(_HEADER).fetchall()[0]]
    application, version, tables = header
    if application != APPLICATION_ID and (version or tables):
        raise StorageUnavailable(f"{connection.filename} is not a Posthouse database: name another file")
    if version > len(MIGRATIONS):
        raise StorageUnavailable(
            f"{connection.filename} was written by a newer Posthouse (schema {version}, this one knows up to "
            f"{len(MIGRATIONS)}): run that version, or restore a backup made before the upgrade"
        )
    return version


def _step(connection: apsw.Connection, version: int, shards: int, now_ms: int) -> None:
    connection.execute(MIGRATIONS[version])
    if version == 0:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        facts = {"created_ms": now_ms, "shards": shards, "probed_ms": 0}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", list(facts.items()))
        connection.execute("INSERT INTO meta VALUES ('epoch', lower(hex(randomblob(12))))")
    connection.execute(f"PRAGMA user_version = {version + 1}")
