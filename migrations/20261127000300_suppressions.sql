-- Suppressions in use: lists of live and of test mail, scopes, what the entries say of themselves; and tries that end
-- because of one.
--
-- No version so far writes the table `suppressions`, so its key is changed in place. Processes of earlier versions are not
-- broken: they know neither its rows nor the new word of `attempts.outcome`. Each partition of `attempts` is locked for a
-- moment; its rows are not read.

ALTER TABLE suppressions
    ADD COLUMN mode text NOT NULL DEFAULT 'live',
    ADD COLUMN tag text NOT NULL DEFAULT '', -- '': whatever tags the message has
    ADD COLUMN class text, -- of the reply that it follows from
    ADD COLUMN note text NOT NULL DEFAULT '',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT suppressions_mode CHECK (mode IN ('live', 'test')),
    ADD CONSTRAINT suppressions_one_scope CHECK (stream = '' OR tag = ''),
    DROP CONSTRAINT suppressions_pkey,
    ADD CONSTRAINT suppressions_pkey PRIMARY KEY (shard, project_id, address, mode, stream, tag),
    -- By the letters of ASCII alone, which every server folds alike.
    DROP CONSTRAINT suppressions_address_form,
    ADD CONSTRAINT suppressions_address_form CHECK (address = lower(address COLLATE "C"));
ALTER TABLE suppressions ALTER COLUMN updated_at DROP DEFAULT;

DROP INDEX suppressions_newest;
CREATE INDEX suppressions_newest ON suppressions (shard, project_id, mode, id);
-- What processes have not heard of yet, and what has had its time.
CREATE INDEX suppressions_changed ON suppressions (shard, updated_at);
CREATE INDEX suppressions_expiring ON suppressions (shard, expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE attempts DROP CONSTRAINT attempts_outcome;
ALTER TABLE attempts ADD CONSTRAINT attempts_outcome CHECK
    (outcome IN ('accepted', 'deferred', 'rejected', 'uncertain', 'expired', 'suppressed')) NOT VALID;
