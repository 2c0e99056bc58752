-- The queue: one narrow row per recipient that is still owed a delivery.
--   due -> leased -> settled (the row leaves this table in the settling commit)
-- Deferral and lease expiry both lead back to due. `id` is the recipient's id.

CREATE TABLE deliveries (
    shard       integer     NOT NULL,
    id          uuid        NOT NULL,
    message_id  uuid        NOT NULL,
    project_id  uuid        NOT NULL,
    next_hop    text        NOT NULL, -- lane key: 'sandbox', 'smarthost' or the recipient's domain
    priority    smallint    NOT NULL,
    size        integer     NOT NULL,
    due_at      timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    attempt     integer     NOT NULL DEFAULT 0, -- counted at the claim
    lease_owner uuid,
    lease_token uuid,
    lease_until timestamptz,
    CONSTRAINT deliveries_pkey PRIMARY KEY (shard, id),
    CONSTRAINT deliveries_priority CHECK (priority BETWEEN 0 AND 2),
    CONSTRAINT deliveries_lease_is_whole CHECK (
        (lease_token IS NULL) = (lease_until IS NULL)
        AND (lease_token IS NULL) = (lease_owner IS NULL)),
    CONSTRAINT deliveries_leased_was_counted CHECK (lease_token IS NULL OR attempt >= 1)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX deliveries_due ON deliveries (shard, priority, due_at, id) WHERE lease_token IS NULL;
CREATE INDEX deliveries_leased ON deliveries (shard, lease_until) WHERE lease_token IS NOT NULL;
