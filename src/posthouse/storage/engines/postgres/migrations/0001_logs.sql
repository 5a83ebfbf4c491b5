-- Logs, their entries and members, what is derived from them in the same transaction, cursors, users, feed readers.
--
-- All ids are compared byte by byte (COLLATE "C"), whatever the database's locale: locks are taken in the order in
-- which Python sorts. `shard` stands in every row that a shard owns. Times are milliseconds since 1970 UTC.

-- What the whole database is. `epoch` changes when old positions must no longer be trusted.
CREATE TABLE meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),
    shards integer NOT NULL,
    created_ms bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    probed_ms bigint NOT NULL DEFAULT 0,
    schema_version integer NOT NULL DEFAULT 0
);

CREATE TABLE log (
    app text COLLATE "C" NOT NULL,
    conv text COLLATE "C" NOT NULL,
    shard smallint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    history text COLLATE "C" NOT NULL,
    head bigint NOT NULL,
    ordinal bigint NOT NULL,
    active_ms bigint NOT NULL,
    members integer NOT NULL,
    first_seq bigint NOT NULL DEFAULT 1,
    created_ms bigint NOT NULL,
    origin bytea NOT NULL,
    home_region text NOT NULL DEFAULT '',
    title text NOT NULL,
    properties bytea NOT NULL,
    PRIMARY KEY (app, conv)
) WITH (fillfactor = 50); -- each append updates its log's row: room on the page keeps the index out of it (HOT)

-- (xid, number) is an entry's place in the feed: the transaction that wrote it, and its place within that.
CREATE TABLE entry (
    app text COLLATE "C" NOT NULL,
    conv text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    shard smallint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    sender text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    client_id text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    at_ms bigint NOT NULL,
    ordinal bigint NOT NULL,
    reply_to bigint NOT NULL,
    mentions text,
    body bytea NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    number integer NOT NULL,
    PRIMARY KEY (app, conv, seq)
);
-- Who sent what under which name. One expression, not five columns: else the planner, while it knows little of the
-- table, may look a send up by (app, conv) in the primary key and read the whole log. Ids hold no control characters.
CREATE UNIQUE INDEX entry_send ON entry
    ((app || chr(31) || conv || chr(31) || sender || chr(31) || device || chr(31) || client_id));
CREATE INDEX entry_feed ON entry (xid, number);
-- Readers of the feed that ask for certain kinds do not scan the messages between.
CREATE INDEX entry_feed_rare ON entry (xid, number) WHERE kind <> 'message';

CREATE TABLE member (
    app text COLLATE "C" NOT NULL,
    conv text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    from_seq bigint NOT NULL,
    from_ordinal bigint NOT NULL,
    until_seq bigint,
    role text COLLATE "C" NOT NULL,
    PRIMARY KEY (app, conv, user_id, from_seq)
);
CREATE UNIQUE INDEX member_current ON member (app, conv, user_id) WHERE until_seq IS NULL;

CREATE TABLE mention (
    app text COLLATE "C" NOT NULL,
    conv text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (app, conv, user_id, seq)
);

-- Lies with its user, not with the conversation: which conversations to look at, never what may be seen in them.
CREATE TABLE inbox (
    app text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    conv text COLLATE "C" NOT NULL,
    shard smallint NOT NULL,
    joined_seq bigint NOT NULL,
    left_seq bigint NOT NULL,
    PRIMARY KEY (app, user_id, conv)
);

-- `read_ordinal` is the ordinal of the entry `read_seq`: what is unread follows without looking that entry up.
CREATE TABLE cursor (
    app text COLLATE "C" NOT NULL,
    conv text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    read_seq bigint NOT NULL,
    read_ordinal bigint NOT NULL,
    delivered_seq bigint NOT NULL,
    PRIMARY KEY (app, conv, user_id)
) WITH (fillfactor = 70);

CREATE TABLE user_record (
    app text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    shard smallint NOT NULL,
    name text NOT NULL,
    avatar text NOT NULL,
    properties bytea NOT NULL,
    blocked boolean NOT NULL,
    updated_ms bigint NOT NULL,
    home_region text NOT NULL DEFAULT '',
    PRIMARY KEY (app, user_id)
);
CREATE INDEX user_record_blocked ON user_record (app, user_id) WHERE blocked;

CREATE TABLE feed_reader (
    reader text COLLATE "C" PRIMARY KEY,
    xid bigint NOT NULL,
    number bigint NOT NULL
);
