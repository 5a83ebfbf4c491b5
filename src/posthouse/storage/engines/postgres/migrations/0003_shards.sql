-- Works with: 1
--
-- Who owns which shard. A database's rows about its own shards are the truth; about others' they are what it last heard.
-- No rows: nothing was dealt yet, and the database is alone. `state` of a shard that leaves: moving (what changes is
-- noted in shard_journal), then frozen (nothing is written until `frozen_until`), then it is the target's; of one that
-- comes: arriving. A shard that has left keeps its rows until the feed's readers have passed `left_xid`.
ALTER TABLE meta ADD COLUMN name text COLLATE "C" NOT NULL DEFAULT '';

CREATE TABLE shard (
    shard smallint PRIMARY KEY,
    database text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'settled',
    target text COLLATE "C" NOT NULL DEFAULT '',
    frozen_until timestamptz,
    left_xid xid8
);

-- The other databases' epochs as last seen, so that one that is away is not taken for changed.
CREATE TABLE peer (
    name text COLLATE "C" PRIMARY KEY,
    epoch text COLLATE "C" NOT NULL
);

-- What was written to a shard while it is being copied: a log (user_id empty), a cursor, or a user (conv empty).
CREATE TABLE shard_journal (
    shard smallint NOT NULL,
    app text COLLATE "C" NOT NULL,
    conv text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (shard, app, conv, user_id)
);

CREATE INDEX log_shard ON log (shard, app, conv);
CREATE INDEX user_record_shard ON user_record (shard, app, user_id);
