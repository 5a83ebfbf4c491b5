-- Works with: 1
--
-- What upgrades and failovers need to know. From here on `schema_version` says how much of the schema a node must know
-- at least (the number in the first line of the newest migration), and `migrated` how many migrations have been applied.
-- `reign` is a word for one primary's time in office on its `timeline`: a replica that shows it has replayed this
-- primary's writes, so it holds nothing of what a failover has left behind.
ALTER TABLE meta
    ADD COLUMN migrated integer NOT NULL DEFAULT 1,
    ADD COLUMN timeline bigint NOT NULL DEFAULT 0,
    ADD COLUMN reign text NOT NULL DEFAULT '';
