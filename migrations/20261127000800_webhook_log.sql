-- Every call of an endpoint is kept with what was answered; secrets are rotated with overlap; what was told is told again on request.
--
-- Reads all of webhook_deliveries once, for an index of those that failed.

-- The last calls, oldest first: {"at", "response_code", "duration_ms", "detail", "answer"}.
ALTER TABLE webhook_jobs ADD COLUMN tries jsonb NOT NULL DEFAULT '[]';
ALTER TABLE webhook_deliveries ADD COLUMN tries jsonb NOT NULL DEFAULT '[]';
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (endpoint_id, event_id DESC) WHERE status = 'failed';

-- What an endpoint holds is counted, and listed newest first.
DROP INDEX webhook_jobs_by_endpoint;
CREATE INDEX webhook_jobs_by_endpoint ON webhook_jobs (endpoint_id, event_id DESC);

-- The private key of Ed25519 (RFC 8032 §5.1.5). Endpoints that are there get one here, each its own.
ALTER TABLE webhook_endpoints
    ADD COLUMN signing_seed bytea NOT NULL
        DEFAULT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
        CONSTRAINT webhook_endpoints_signing_seed_length CHECK (octet_length(signing_seed) = 32),
    ADD COLUMN stalled_at timestamptz; -- since when it is said of it that it does not answer
ALTER TABLE webhook_endpoints ALTER COLUMN signing_seed DROP DEFAULT;

-- Secrets that were replaced and sign beside the new one for a while.
CREATE TABLE webhook_old_secrets (
    endpoint_id  uuid        NOT NULL,
    secret       bytea       NOT NULL,
    signing_seed bytea       NOT NULL,
    until        timestamptz NOT NULL,
    CONSTRAINT webhook_old_secrets_pkey PRIMARY KEY (endpoint_id, secret),
    CONSTRAINT webhook_old_secrets_endpoint_fkey FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id) ON DELETE CASCADE
);

-- Events that an endpoint is to be told again: those named, or those of a span of time.
CREATE TABLE webhook_replays (
    id          uuid        NOT NULL,
    endpoint_id uuid        NOT NULL,
    event_ids   uuid[]      NOT NULL,
    since       timestamptz,
    until       timestamptz NOT NULL,
    types       text[]      NOT NULL,
    only_failed boolean     NOT NULL,
    position    text        NOT NULL, -- a cursor of the event log: what is before it was turned into jobs
    events      bigint      NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    done_at     timestamptz,
    CONSTRAINT webhook_replays_pkey PRIMARY KEY (endpoint_id, id),
    CONSTRAINT webhook_replays_endpoint_fkey FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id) ON DELETE CASCADE
);
CREATE INDEX webhook_replays_running ON webhook_replays (endpoint_id, id) WHERE done_at IS NULL;
