-- By what messages can be found: for each block of messages of a project, in the order of their ids, what stands in any of them. A list passes the blocks
-- in which nothing can be found. Written behind what is accepted, by upkeep; nothing is read or copied here.
CREATE TABLE message_blocks (
    project_id  uuid        NOT NULL,
    -- It holds the project's messages with ids from behind this one on
    after_id    uuid        NOT NULL,
    -- to this one.
    last_id     uuid        NOT NULL,
    -- Hashes of what stands in them, with the project in each. Null: not known; anything may.
    terms       bigint[],
    -- Those whose state may change still. What state they are in is not among the terms.
    unsettled   uuid[]      NOT NULL DEFAULT '{}',
    -- When it is looked at next. Null: never, unless something changes.
    due_at      timestamptz,
    CONSTRAINT message_blocks_pkey PRIMARY KEY (project_id, last_id),
    CONSTRAINT message_blocks_unknown_is_due CHECK (terms IS NOT NULL OR due_at IS NOT NULL)
) PARTITION BY RANGE (last_id);

-- Lists read the other columns of many rows, and this one of none.
ALTER TABLE message_blocks ALTER COLUMN terms SET STORAGE EXTERNAL;

CREATE INDEX message_blocks_terms ON message_blocks USING gin (terms) WITH (fastupdate = off);
CREATE INDEX message_blocks_due ON message_blocks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX message_blocks_unsure ON message_blocks (project_id, last_id) WHERE due_at IS NOT NULL;

-- For what is older than days are: with the first day of messages, as long as that is there.
DO $$
DECLARE
    first record;
BEGIN
    SELECT c.relname, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(.{36})''\)') AS bound INTO first
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'messages'::regclass AND pg_get_expr(c.relpartbound, c.oid) LIKE '%(MINVALUE)%';
    IF FOUND THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF message_blocks FOR VALUES FROM (MINVALUE) TO (%L) WITH (toast_tuple_target = 128)',
            replace(first.relname, 'messages', 'message_blocks'), first.bound);
    END IF;
END $$;

-- Processes of before would send what was scheduled into blocks that are known, and not say so.
UPDATE schema_compatibility SET min_binary = 20261128000700;
