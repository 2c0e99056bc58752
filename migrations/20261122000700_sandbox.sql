-- The built-in inbox: what was delivered to the sandbox, one row per recipient. The bytes stay in
-- message_bodies. The primary key makes a repeated delivery a no-op.

CREATE TABLE sandbox_messages (
    shard       integer     NOT NULL,
    message_id  uuid        NOT NULL,
    id          uuid        NOT NULL, -- the recipient's id
    project_id  uuid        NOT NULL,
    sender      text        NOT NULL,
    recipient   text        NOT NULL,
    received_at timestamptz NOT NULL,
    CONSTRAINT sandbox_messages_pkey PRIMARY KEY (shard, message_id, id)
);
CREATE INDEX sandbox_messages_by_project ON sandbox_messages (project_id, id DESC);
