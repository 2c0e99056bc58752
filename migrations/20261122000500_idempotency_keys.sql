-- Written in the accepting commit, never by a refused request. `answer` is the body of the 202.

CREATE TABLE idempotency_keys (
    shard       integer     NOT NULL, -- hash(project, key): the message lies in the same shard
    project_id  uuid        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL, -- SHA-256 of the canonical request body
    message_id  uuid        NOT NULL,
    answer      text        NOT NULL,
    expires_at  timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (shard, project_id, key),
    CONSTRAINT idempotency_keys_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32)
);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (shard, expires_at);
