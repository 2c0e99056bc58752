-- The wide tables in partitions by day, so that retention drops files instead of deleting rows. A partition
-- is named by the last day that it holds (`messages_p20261126`); ids are UUIDv7, so the bound of a day is the
-- UUID with its first millisecond in front and zeros behind. The table that was there becomes the first
-- partition, from the beginning to the end of tomorrow; src/store/partitions.rs makes and drops the others.
--
-- Attaching reads the old tables once, to see that the rows are within the bound. Nothing else may write
-- meanwhile; a lock that cannot be had rolls everything back, and `mailwright migrate` can be run again.
LOCK TABLE messages, message_bodies, recipients, attempts, events, webhook_deliveries, sandbox_messages
    IN ACCESS EXCLUSIVE MODE;

-- One index instead of two: the domain first, so that it serves a domain, and an address within it.
DROP INDEX recipients_by_address;
DROP INDEX recipients_by_domain;
CREATE INDEX recipients_by_address ON recipients (split_part(address, '@', -1), address, message_id DESC);

DO $$
DECLARE
    bound_day CONSTANT date := (now() AT TIME ZONE 'UTC')::date + 2;
    bound CONSTANT uuid := rpad(lpad(to_hex(extract(epoch FROM bound_day)::bigint * 1000), 12, '0'), 32, '0');
    suffix CONSTANT text := to_char(bound_day - 1, '"_p"YYYYMMDD');
    wide record;
BEGIN
    FOR wide IN SELECT * FROM (VALUES
        ('messages', 'id', 'shard, id'),
        ('message_bodies', 'message_id', 'shard, message_id'),
        ('recipients', 'message_id', 'shard, message_id, id'),
        ('attempts', 'message_id', 'shard, message_id, id'),
        ('events', 'message_id', 'shard, message_id, id'),
        ('webhook_deliveries', 'message_id', 'shard, message_id, id'),
        ('sandbox_messages', 'message_id', 'shard, message_id, id')) AS t (name, day, key)
    LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', wide.name, wide.name || suffix);
        EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT %I TO %I',
            wide.name || suffix, wide.name || '_pkey', wide.name || suffix || '_pkey');
        -- CHECKs keep their names on every partition; storage parameters are each partition's own.
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE, '
            'CONSTRAINT %I PRIMARY KEY (%s)) PARTITION BY RANGE (%I)',
            wide.name, wide.name || suffix, wide.name || '_pkey', wide.key, wide.day);
    END LOOP;

    -- The indexes of the old tables get the names that Postgres gives those of a new partition.
    EXECUTE format('ALTER INDEX messages_by_project RENAME TO %I', 'messages' || suffix || '_project_id_id_idx');
    EXECUTE format('ALTER INDEX recipients_by_address RENAME TO %I',
        'recipients' || suffix || '_split_part_address_message_id_idx');
    EXECUTE format('ALTER INDEX webhook_deliveries_by_endpoint RENAME TO %I',
        'webhook_deliveries' || suffix || '_endpoint_id_event_id_idx');
    EXECUTE format('ALTER INDEX sandbox_messages_by_project RENAME TO %I',
        'sandbox_messages' || suffix || '_project_id_id_idx');
    CREATE INDEX messages_by_project ON messages (project_id, id DESC);
    CREATE INDEX recipients_by_address ON recipients (split_part(address, '@', -1), address, message_id DESC);
    CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, event_id DESC);
    CREATE INDEX sandbox_messages_by_project ON sandbox_messages (project_id, id DESC);

    FOR wide IN SELECT * FROM unnest(ARRAY['messages', 'message_bodies', 'recipients', 'attempts', 'events',
        'webhook_deliveries', 'sandbox_messages']) AS t (name)
    LOOP
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
            wide.name, wide.name || suffix, bound);
    END LOOP;
END $$;
