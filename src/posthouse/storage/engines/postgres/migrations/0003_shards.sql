-- Works with: 1
--
-- Who owns which shard. A database's rows about its own shards are the truth; about others' they are what it last heard.
-- No rows: nothing was dealt yet, and the database is alone. `state` of a shard that leaves: moving (until `noted_until`
-- what is written is noted in shard_journal), then frozen (until `frozen_until` nothing is written), then it is another
-- database's; of one that comes: arriving. `mover` is the process at work, so that one which was taken for dead does no
-- harm. A shard that has left keeps its rows until the feed's readers have passed `left_xid`.
ALTER TABLE meta ADD COLUMN name text COLLATE "C" NOT NULL DEFAULT '';

CREATE TABLE shard (
    shard smallint PRIMARY KEY,
    database text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'settled',
    mover text COLLATE "C" NOT NULL DEFAULT '',
    noted_until timestamptz,
    frozen_until timestamptz,
    left_xid xid8
);

-- The other databases' epochs as last seen, so that one that is away is not taken for changed.
CREATE TABLE peer (
    name text COLLATE "C" PRIMARY KEY,
    epoch text COLLATE "C" NOT NULL
);

-- What is written to a shard while it is being copied: a log (user_id empty), a cursor, or a user (conv empty). Each
-- write adds a row of its own: were they merged, one that the mover is about to delete would swallow a newer one.
CREATE TABLE shard_journal (
    id bigint GENERATED ALWAYS AS IDENTITY,
    shard smallint NOT NULL,
    app text COLLATE "C" NOT NULL,
    conv text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (shard, id)
);

CREATE INDEX log_shard ON log (shard, app, conv);
CREATE INDEX user_record_shard ON user_record (shard, app, user_id);
