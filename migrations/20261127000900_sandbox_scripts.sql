-- The sandbox plays what receivers do: by scripts of messages, of patterns of addresses, and of names; and its time can be moved.
--
-- Reads all of deliveries twice: for the words of a CHECK, and for an index of test mail.

ALTER TABLE messages ADD COLUMN sandbox_script text;

-- The project moved its time: the next try is made as of this instant, and not of now.
ALTER TABLE deliveries ADD COLUMN as_of timestamptz;
CREATE INDEX deliveries_of_tests ON deliveries (project_id) WHERE mode = 'test';

ALTER TABLE deliveries DROP CONSTRAINT deliveries_held;
ALTER TABLE deliveries ADD CONSTRAINT deliveries_held
    CHECK (held IN ('paused', 'shared', 'rate', 'budget', 'warmup', 'aside', 'no_source', 'scripted')) NOT VALID;
ALTER TABLE deliveries VALIDATE CONSTRAINT deliveries_held;

-- What happens to mail to addresses of a pattern; the first that fits.
CREATE TABLE sandbox_scripts (
    project_id uuid     NOT NULL,
    position   smallint NOT NULL,
    pattern    text     NOT NULL,
    script     text     NOT NULL,
    CONSTRAINT sandbox_scripts_pkey PRIMARY KEY (project_id, position),
    CONSTRAINT sandbox_scripts_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id)
);

-- What comes back after a delivery: a report that it bounced, a complaint.
CREATE TABLE sandbox_afterwards (
    shard        integer     NOT NULL,
    message_id   uuid        NOT NULL,
    recipient_id uuid        NOT NULL,
    position     smallint    NOT NULL,
    project_id   uuid        NOT NULL,
    what         text        NOT NULL, -- as the script says it
    due_at       timestamptz NOT NULL,
    CONSTRAINT sandbox_afterwards_pkey PRIMARY KEY (shard, message_id, recipient_id, position)
);
CREATE INDEX sandbox_afterwards_due ON sandbox_afterwards (due_at);
CREATE INDEX sandbox_afterwards_by_project ON sandbox_afterwards (project_id);

-- What a request to send may say; sandbox is new.
CREATE OR REPLACE FUNCTION mailwright.fields(is_raw boolean) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT ARRAY['send_at', 'raw', 'per_recipient', 'from', 'to', 'cc', 'bcc', 'reply_to', 'subject', 'text', 'html',
        'alternatives', 'attachments', 'headers', 'message_id', 'return_path', 'otp', 'auto_replies', 'tags', 'metadata',
        'priority', 'expires_at', 'ttl_seconds', 'tls', 'ip_pool', 'sandbox', 'template']
$$;
