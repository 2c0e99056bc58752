-- What the whole API of sending needs: batches, keys that are told, files that are uploaded once, and what is known of
-- scheduled mail without reading its request.
--
-- Processes of earlier versions go on: every column is new, and may be empty; what they accept meanwhile is not found by
-- its recipients' addresses. Recipients are updated once.

-- Messages of one batch, and the caller's own key: "did my request send?" is asked by it.
ALTER TABLE messages
    ADD COLUMN batch_id        uuid,
    ADD COLUMN idempotency_key text, -- the caller's own, without the mode
    ADD COLUMN template        text, -- alias or id of the template that it was made from
    ADD COLUMN send_at         timestamptz; -- when it was asked to be sent; none: at once
CREATE INDEX messages_by_batch ON messages (project_id, batch_id) WHERE batch_id IS NOT NULL;

-- The reply of a recipient that was settled before anything was sent says why (recipients.reply_text).

-- A recipient is found by its address within its project: nobody's search reads others' rows.
ALTER TABLE recipients ADD COLUMN project_id uuid;
UPDATE recipients r SET project_id = m.project_id FROM messages m WHERE m.shard = r.shard AND m.id = r.message_id;
CREATE INDEX recipients_by_project_address ON recipients
    (project_id, split_part(address, '@', -1), lower(address), message_id DESC);
DROP INDEX recipients_by_address;

ALTER TABLE scheduled_messages
    ADD COLUMN summary         jsonb NOT NULL DEFAULT '{}', -- what status and lists show of it
    ADD COLUMN expires_at      timestamptz,
    ADD COLUMN idempotency_key text,
    ADD COLUMN batch_id        uuid,
    ADD COLUMN template        text,
    ADD COLUMN version         integer NOT NULL DEFAULT 1, -- counts its changes
    ADD COLUMN charged         boolean NOT NULL DEFAULT true, -- to its project's quotas, when it was accepted
    ADD COLUMN lease_owner     uuid,        -- the process that is sending it
    ADD COLUMN lease_until     timestamptz,
    ADD CONSTRAINT scheduled_messages_lease_is_whole CHECK ((lease_owner IS NULL) = (lease_until IS NULL));
CREATE INDEX scheduled_messages_of_project ON scheduled_messages (project_id, id DESC);
CREATE INDEX scheduled_messages_in_turns ON scheduled_messages (shard, project_id, send_at);
CREATE INDEX scheduled_messages_by_batch ON scheduled_messages (project_id, batch_id) WHERE batch_id IS NOT NULL;

-- A delivery that is asked back: its process answers.
CREATE INDEX deliveries_revoked ON deliveries (shard, lease_owner) WHERE revoked_at IS NOT NULL;

-- Files that messages may carry by name. The bytes are kept once for each project, however often they were uploaded.
CREATE TABLE upload_contents (
    project_id uuid   NOT NULL,
    sha256     bytea  NOT NULL,
    content    bytea  NOT NULL,
    CONSTRAINT upload_contents_pkey PRIMARY KEY (project_id, sha256),
    CONSTRAINT upload_contents_sha256 CHECK (octet_length(sha256) = 32)
);
ALTER TABLE upload_contents ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE TABLE uploads (
    id              uuid        NOT NULL,
    project_id      uuid        NOT NULL,
    mode            text        NOT NULL,
    sha256          bytea       NOT NULL,
    size            integer     NOT NULL,
    filename        text        NOT NULL,
    content_type    text        NOT NULL,
    idempotency_key text,
    created_at      timestamptz NOT NULL,
    last_used_at    timestamptz NOT NULL, -- to the day
    CONSTRAINT uploads_pkey PRIMARY KEY (id),
    CONSTRAINT uploads_mode CHECK (mode IN ('live', 'test'))
);
CREATE UNIQUE INDEX uploads_same ON uploads (project_id, mode, sha256, filename, content_type);
CREATE UNIQUE INDEX uploads_key ON uploads (project_id, mode, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX uploads_by_project ON uploads (project_id, id DESC);
CREATE INDEX uploads_unused ON uploads (last_used_at);
