-- What the client asked to send. Immutable after the accepting commit, but for the recipient's state.
-- Hot tables: `shard` first in every key, no foreign keys, no triggers, no sequences.
-- Children are keyed by (shard, message_id, id), so that one message lies together and time-ordered
-- partitions by message id stay possible.

CREATE TABLE messages (
    shard             integer     NOT NULL,
    id                uuid        NOT NULL, -- UUIDv7; its lowest 6 bits are the shard's index
    project_id        uuid        NOT NULL,
    mode              text        NOT NULL,
    sender            text        NOT NULL, -- RFC 5321 reverse-path
    author            text        NOT NULL, -- RFC 5322 From as shown to people
    subject           text        NOT NULL,
    tags              jsonb       NOT NULL,
    metadata          jsonb       NOT NULL,
    priority          smallint    NOT NULL,
    size              integer     NOT NULL, -- bytes of the composed message
    created_at        timestamptz NOT NULL,
    expires_at        timestamptz,
    CONSTRAINT messages_pkey PRIMARY KEY (shard, id),
    CONSTRAINT messages_mode CHECK (mode IN ('live', 'test')),
    CONSTRAINT messages_priority CHECK (priority BETWEEN 0 AND 2),
    CONSTRAINT messages_size CHECK (size > 0)
);
-- Listings: newest first within a project, keyset by id.
CREATE INDEX messages_by_project ON messages (project_id, id DESC);

-- Bodies live apart, so that a claim or a listing never touches them. Kept inline up to 8 kB and
-- never compressed by the server: the bytes are mostly base64 or quoted-printable already.
CREATE TABLE message_bodies (
    shard      integer NOT NULL,
    message_id uuid    NOT NULL,
    raw        bytea   NOT NULL, -- RFC 5322, CRLF line ends, exactly the bytes that go on the wire
    CONSTRAINT message_bodies_pkey PRIMARY KEY (shard, message_id)
) WITH (toast_tuple_target = 8160);
ALTER TABLE message_bodies ALTER COLUMN raw SET STORAGE EXTERNAL;

CREATE TABLE recipients (
    shard         integer     NOT NULL,
    message_id    uuid        NOT NULL,
    id            uuid        NOT NULL,
    position      smallint    NOT NULL,
    kind          text        NOT NULL,
    address       text        NOT NULL, -- RFC 5321 mailbox, domain as A-labels
    status        text        NOT NULL,
    attempts      integer     NOT NULL DEFAULT 0,
    settled_at    timestamptz,
    reply_code    smallint,
    reply_status  text,       -- RFC 3463 enhanced status code
    reply_text    text,
    reply_host    text,
    reply_class   text,
    CONSTRAINT recipients_pkey PRIMARY KEY (shard, message_id, id),
    CONSTRAINT recipients_kind CHECK (kind IN ('to', 'cc', 'bcc')),
    CONSTRAINT recipients_status CHECK (status IN
        ('queued', 'deferred', 'delivered', 'bounced', 'expired', 'suppressed', 'cancelled')),
    CONSTRAINT recipients_settled_has_time CHECK
        ((status NOT IN ('queued', 'deferred')) = (settled_at IS NOT NULL)),
    CONSTRAINT recipients_attempts CHECK (attempts >= 0)
) WITH (fillfactor = 80);
-- Listings by recipient address and by recipient domain.
CREATE INDEX recipients_by_address ON recipients (address, message_id DESC);
CREATE INDEX recipients_by_domain ON recipients (split_part(address, '@', -1), message_id DESC);
