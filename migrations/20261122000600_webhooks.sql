-- Endpoints are configuration; jobs are a queue under the same law as deliveries (outbox: a job is
-- written in the commit of its event); webhook_deliveries keeps what became of each job.

CREATE TABLE webhook_endpoints (
    id              uuid        NOT NULL,
    project_id      uuid        NOT NULL,
    url             text        NOT NULL,
    events          text[]      NOT NULL,
    tags            text[]      NOT NULL,
    description     text        NOT NULL,
    secret          bytea       NOT NULL, -- the HMAC key of Standard Webhooks
    enabled         boolean     NOT NULL,
    disabled_reason text,
    failing_since   timestamptz,
    created_at      timestamptz NOT NULL,
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_endpoints_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id),
    CONSTRAINT webhook_endpoints_secret_length CHECK (octet_length(secret) BETWEEN 24 AND 64),
    CONSTRAINT webhook_endpoints_disabled_has_reason CHECK (enabled = (disabled_reason IS NULL))
);
CREATE INDEX webhook_endpoints_by_project ON webhook_endpoints (project_id, id DESC);

CREATE TABLE webhook_jobs (
    shard       integer     NOT NULL,
    id          uuid        NOT NULL, -- md5(event, endpoint): writing a job twice is a no-op
    endpoint_id uuid        NOT NULL,
    message_id  uuid        NOT NULL,
    event_id    uuid        NOT NULL,
    due_at      timestamptz NOT NULL,
    attempt     integer     NOT NULL DEFAULT 0,
    lease_owner uuid,
    lease_token uuid,
    lease_until timestamptz,
    CONSTRAINT webhook_jobs_pkey PRIMARY KEY (shard, id),
    CONSTRAINT webhook_jobs_lease_is_whole CHECK (
        (lease_token IS NULL) = (lease_until IS NULL)
        AND (lease_token IS NULL) = (lease_owner IS NULL)),
    CONSTRAINT webhook_jobs_leased_was_counted CHECK (lease_token IS NULL OR attempt >= 1)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX webhook_jobs_due ON webhook_jobs (shard, due_at, id) WHERE lease_token IS NULL;
CREATE INDEX webhook_jobs_leased ON webhook_jobs (shard, lease_until) WHERE lease_token IS NOT NULL;

CREATE TABLE webhook_deliveries (
    shard         integer     NOT NULL,
    message_id    uuid        NOT NULL,
    id            uuid        NOT NULL, -- the job's id
    endpoint_id   uuid        NOT NULL,
    event_id      uuid        NOT NULL,
    status        text        NOT NULL,
    attempts      integer     NOT NULL,
    response_code smallint,
    detail        text        NOT NULL,
    settled_at    timestamptz NOT NULL,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (shard, message_id, id),
    CONSTRAINT webhook_deliveries_status CHECK (status IN ('succeeded', 'failed'))
);
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, event_id DESC);
