-- What comes back by mail: whose it is by tokens that only we can make, and what it said.

-- Keys of tokens in addresses and links. The newest makes them, all of them are believed.
CREATE TABLE token_keys (
    id         smallint    NOT NULL,
    secret     bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT token_keys_pkey PRIMARY KEY (id),
    CONSTRAINT token_keys_id CHECK (id BETWEEN 0 AND 255),
    CONSTRAINT token_keys_secret CHECK (octet_length(secret) = 32)
);
INSERT INTO token_keys (id, secret, created_at)
VALUES (1, decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'), now());

CREATE TABLE reports (
    id            uuid        NOT NULL,
    -- SHA-256 of the letter and its recipient: what comes twice is kept once.
    digest        bytea       NOT NULL,
    received_at   timestamptz NOT NULL,
    source        text        NOT NULL,
    envelope_from text        NOT NULL,
    envelope_to   text        NOT NULL,
    meaning       text        NOT NULL,
    outcome       text        NOT NULL,
    -- Whose it is; NULL: nobody's.
    project_id    uuid,
    mode          text,
    message_id    uuid,
    recipient_id  uuid,
    -- What the report gives as the reason, and what else was found.
    detail        jsonb       NOT NULL,
    -- The beginning of the letter, zipped.
    raw           bytea       NOT NULL,
    CONSTRAINT reports_pkey PRIMARY KEY (id),
    CONSTRAINT reports_digest_key UNIQUE (digest),
    CONSTRAINT reports_source CHECK (source IN ('smtp', 'http', 'maildir')),
    CONSTRAINT reports_outcome CHECK (outcome IN ('told', 'noted', 'review', 'unattributed'))
);
CREATE INDEX reports_by_project ON reports (project_id, id);
CREATE INDEX reports_by_message ON reports (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX reports_by_time ON reports (received_at);
