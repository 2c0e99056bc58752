-- The shapes that what comes next needs: an event log with days and positions of its own, keys that name what they
-- made, words instead of sentences, and room for scheduled mail and suppressions.
--
-- Breaks processes of earlier versions: `mailwright migrate` refuses to run while one is connected. Events are copied
-- once; recipients with several events, idempotency keys and the queue are updated in place.

-- Which binaries can use this schema: those that know the migration `min_binary`, and all later ones. A migration that
-- an older binary does not survive raises it.
CREATE TABLE schema_compatibility (
    is_current boolean NOT NULL DEFAULT true,
    min_binary bigint  NOT NULL,
    CONSTRAINT schema_compatibility_pkey PRIMARY KEY (is_current),
    CONSTRAINT schema_compatibility_is_one_row CHECK (is_current)
);
INSERT INTO schema_compatibility (min_binary) VALUES (20261126000100);

-- ---------------------------------------------------------------------------------------------------------------------
-- Events: a log. Partitioned by the day of the event itself, so that what is learned months later (an open, a complaint, a
-- late bounce) is an event like any other. Its position is (era, xid, id): a reader's cursor is a snapshot, and next
-- come the events whose transaction that snapshot did not see, so that no commit is ever skipped, however slow it was.
-- Dump and restore into another cluster begin transaction ids anew: that is a new era.
-- ---------------------------------------------------------------------------------------------------------------------
CREATE TABLE log_eras (
    era               smallint    NOT NULL,
    system_identifier bigint      NOT NULL, -- of the cluster whose transaction ids the era's events have
    began_at          timestamptz NOT NULL,
    CONSTRAINT log_eras_pkey PRIMARY KEY (era)
);

DO $$
DECLARE
    old record;
    bound_day CONSTANT date := (now() AT TIME ZONE 'UTC')::date + 2;
    bound CONSTANT uuid := rpad(lpad(to_hex(extract(epoch FROM bound_day)::bigint * 1000), 12, '0'), 32, '0');
    suffix CONSTANT text := to_char(bound_day - 1, '"_p"YYYYMMDD');
BEGIN
    ALTER TABLE events RENAME TO events_by_message;
    ALTER TABLE events_by_message RENAME CONSTRAINT events_pkey TO events_by_message_pkey;
    FOR old IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'events_by_message'::regclass
    LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', old.relname, replace(old.relname, 'events_p', 'events_by_message_p'));
    END LOOP;
    FOR old IN SELECT c.relname FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
        JOIN pg_inherits i ON i.inhrelid = x.indrelid WHERE i.inhparent = 'events_by_message'::regclass
    LOOP
        EXECUTE format('ALTER INDEX %I RENAME TO %I', old.relname, replace(old.relname, 'events_p', 'events_by_message_p'));
    END LOOP;

    CREATE TABLE events (
        shard        integer     NOT NULL, -- the recipient's
        sequence     integer     NOT NULL, -- orders the events of one recipient, from 1
        xid          xid8        NOT NULL, -- the transaction that wrote it
        era          smallint    NOT NULL, -- whose transaction ids those are
        id           uuid        NOT NULL, -- UUIDv7; its lowest 6 bits are the shard's index
        project_id   uuid        NOT NULL,
        message_id   uuid        NOT NULL,
        recipient_id uuid        NOT NULL,
        mode         text        NOT NULL,
        type         text        NOT NULL,
        occurred_at  timestamptz NOT NULL,
        data         jsonb       NOT NULL,
        CONSTRAINT events_pkey PRIMARY KEY (shard, message_id, id),
        CONSTRAINT events_sequence CHECK (sequence >= 1),
        CONSTRAINT events_era CHECK (era >= 0),
        CONSTRAINT events_mode CHECK (mode IN ('live', 'test'))
    ) PARTITION BY RANGE (id);
    EXECUTE format('CREATE TABLE %I PARTITION OF events FOR VALUES FROM (MINVALUE) TO (%L)', 'events' || suffix, bound);

    -- What was there comes before all transactions: era 0, transaction 0, in order of its ids.
    INSERT INTO events (shard, sequence, xid, era, id, project_id, message_id, recipient_id, mode, type, occurred_at, data)
    SELECT e.shard, e.sequence, '0', 0, e.id, e.project_id, e.message_id, e.recipient_id, coalesce(m.mode, 'live'),
        e.type, e.occurred_at, e.data
    FROM events_by_message e LEFT JOIN messages m ON m.shard = e.shard AND m.id = e.message_id
    ORDER BY e.id;

    CREATE INDEX events_in_commit_order ON events (shard, project_id, era, xid);
END $$;
DROP TABLE events_by_message;

-- A recipient counts its events: what comes later has a sequence too, whatever became of its attempts.
ALTER TABLE recipients ADD COLUMN events integer NOT NULL DEFAULT 1
    CONSTRAINT recipients_events CHECK (events >= 1);
UPDATE recipients r SET events = e.newest FROM (
    SELECT shard, message_id, recipient_id, max(sequence) AS newest FROM events GROUP BY shard, message_id, recipient_id
) AS e WHERE r.shard = e.shard AND r.message_id = e.message_id AND r.id = e.recipient_id AND e.newest > 1;

-- The reverse path of one recipient (RFC 5321 4.1.1.2): none is the message's sender, empty is the null path, else a
-- mailbox (VERP).
ALTER TABLE recipients ADD COLUMN return_path text;

-- ---------------------------------------------------------------------------------------------------------------------
-- Idempotency keys name the messages that they made, and so those messages' shards (the lowest bits of their ids); the
-- answer is rendered again from what is stored, in the words of whichever dialect asks.
-- ---------------------------------------------------------------------------------------------------------------------
ALTER TABLE idempotency_keys ADD COLUMN message_ids uuid[];
UPDATE idempotency_keys SET message_ids = ARRAY[message_id];
ALTER TABLE idempotency_keys ALTER COLUMN message_ids SET NOT NULL;
ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_names_messages CHECK (cardinality(message_ids) >= 1);
ALTER TABLE idempotency_keys DROP COLUMN message_id;
ALTER TABLE idempotency_keys DROP COLUMN answer;

-- ---------------------------------------------------------------------------------------------------------------------
-- The queue. A reason for holding is a word. A leased delivery has begun once MAIL may have left: until then it can be
-- asked back (`revoked_at`) by whoever cancels or edits it, and its process answers by giving it up or by `begun_at`.
-- ---------------------------------------------------------------------------------------------------------------------
UPDATE deliveries SET held = CASE
    WHEN held LIKE 'the next hop did not answer%' THEN 'paused'
    WHEN held LIKE 'other processes hold%' THEN 'shared'
    WHEN held LIKE 'the rate of this next hop%' THEN 'rate'
    WHEN held LIKE 'retries to this next hop%' THEN 'budget'
    WHEN held LIKE 'every source address has sent%' THEN 'warmup'
    WHEN held LIKE 'the next hop wants no mail%' THEN 'aside'
    WHEN held LIKE 'no source address of the pool%' THEN 'no_source'
    END WHERE held IS NOT NULL;
ALTER TABLE deliveries
    ADD COLUMN mode text NOT NULL DEFAULT 'live' CONSTRAINT deliveries_mode CHECK (mode IN ('live', 'test')),
    ADD COLUMN revoked_at timestamptz,
    ADD COLUMN begun_at timestamptz,
    ADD CONSTRAINT deliveries_held CHECK
        (held IN ('paused', 'shared', 'rate', 'budget', 'warmup', 'aside', 'no_source')),
    ADD CONSTRAINT deliveries_only_leased_begin CHECK (begun_at IS NULL OR lease_token IS NOT NULL),
    ADD CONSTRAINT deliveries_only_leased_are_revoked CHECK (revoked_at IS NULL OR lease_token IS NOT NULL);
UPDATE deliveries d SET mode = 'test' FROM messages m
    WHERE m.shard = d.shard AND m.id = d.message_id AND m.mode = 'test';
ALTER TABLE attempts ADD CONSTRAINT attempts_confidence CHECK (confidence BETWEEN 0 AND 100) NOT VALID;

-- ---------------------------------------------------------------------------------------------------------------------
-- Mail for later waits as what was asked for, and is composed, signed, dated and checked when its time comes. Not in
-- partitions: a schedule keeps no day alive. Its id is minted for `send_at`, so that the message that it becomes lies in
-- the day on which it is sent.
-- ---------------------------------------------------------------------------------------------------------------------
CREATE TABLE scheduled_messages (
    shard      integer     NOT NULL,
    id         uuid        NOT NULL, -- the message's, which it keeps
    project_id uuid        NOT NULL,
    mode       text        NOT NULL,
    send_at    timestamptz NOT NULL,
    request    bytea       NOT NULL, -- what was asked for, as it was validated
    tags       jsonb       NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT scheduled_messages_pkey PRIMARY KEY (shard, id),
    CONSTRAINT scheduled_messages_mode CHECK (mode IN ('live', 'test'))
);
CREATE INDEX scheduled_messages_due ON scheduled_messages (shard, send_at);
CREATE INDEX scheduled_messages_by_project ON scheduled_messages (shard, project_id, id);

-- Addresses that a project sends nothing more to. Millions of rows, looked up for every recipient: sharded by a hash of
-- project and address, and asked before the accepting transaction, never in it.
CREATE TABLE suppressions (
    shard      integer     NOT NULL,
    project_id uuid        NOT NULL,
    address    text        NOT NULL, -- in lower case, domain as A-labels
    stream     text        NOT NULL DEFAULT '', -- '': of the whole project
    id         uuid        NOT NULL,
    reason     text        NOT NULL,
    evidence   jsonb       NOT NULL DEFAULT '{}', -- the reply, or the report
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    CONSTRAINT suppressions_pkey PRIMARY KEY (shard, project_id, address, stream),
    CONSTRAINT suppressions_reason CHECK (reason IN ('bounce', 'complaint', 'unsubscribe', 'manual')),
    CONSTRAINT suppressions_address_form CHECK (address = lower(address))
);
CREATE INDEX suppressions_newest ON suppressions (shard, project_id, id DESC);

-- Processes say how far their own clocks are from the store's.
ALTER TABLE processes ADD COLUMN clock_offset_ms bigint NOT NULL DEFAULT 0;
