-- Append-only facts. An attempt is one try of a delivery; an event is a fact in the past tense,
-- written in the commit that made it true.

CREATE TABLE attempts (
    shard        integer     NOT NULL,
    message_id   uuid        NOT NULL,
    id           uuid        NOT NULL,
    recipient_id uuid        NOT NULL,
    number       integer     NOT NULL,
    outcome      text        NOT NULL,
    class        text        NOT NULL,
    started_at   timestamptz NOT NULL,
    duration_ms  integer     NOT NULL,
    stage        text,
    host         text,
    ip           text,
    source_ip    text,
    tls          text,
    reply_code   smallint,
    reply_status text,
    reply_text   text,
    transcript   text        NOT NULL DEFAULT '',
    CONSTRAINT attempts_pkey PRIMARY KEY (shard, message_id, id),
    CONSTRAINT attempts_outcome CHECK (outcome IN ('accepted', 'deferred', 'rejected', 'uncertain', 'expired')),
    CONSTRAINT attempts_number CHECK (number >= 1)
);

CREATE TABLE events (
    shard        integer     NOT NULL,
    message_id   uuid        NOT NULL,
    id           uuid        NOT NULL,
    project_id   uuid        NOT NULL,
    recipient_id uuid        NOT NULL,
    sequence     integer     NOT NULL, -- orders the events of one recipient
    type         text        NOT NULL,
    occurred_at  timestamptz NOT NULL,
    data         jsonb       NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (shard, message_id, id),
    CONSTRAINT events_sequence CHECK (sequence >= 1)
);
