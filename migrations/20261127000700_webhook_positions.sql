-- Webhooks are read from the event log: each endpoint has a position in it, and jobs are made from there, few at a time. What
-- accepts and settles writes nothing for an endpoint.
--
-- Processes of earlier versions that run beside this one go on, and write jobs themselves: an endpoint may hear of such an event
-- twice, under the same id. What they have left is carried out as it was. A few rows are written, for the endpoints that there are.

CREATE TABLE webhook_positions (
    endpoint_id uuid        NOT NULL,
    project_id  uuid        NOT NULL,
    position    text        NOT NULL, -- a cursor of the event log: what is before it was turned into jobs
    fed_until   timestamptz NOT NULL, -- every event that happened before this instant was
    CONSTRAINT webhook_positions_pkey PRIMARY KEY (endpoint_id),
    CONSTRAINT webhook_positions_endpoint_fkey FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id) ON DELETE CASCADE
);
INSERT INTO webhook_positions (endpoint_id, project_id, position, fed_until)
SELECT w.id, w.project_id, (SELECT COALESCE(max(era), 0) FROM log_eras) || '.'
    || translate(pg_current_snapshot()::text, ':,', '-_') || '~', now()
FROM webhook_endpoints AS w;

-- Which process turns events into jobs: one at a time.
CREATE TABLE webhook_feeder (
    is_current boolean     NOT NULL DEFAULT true,
    owner      uuid        NOT NULL,
    until      timestamptz NOT NULL,
    CONSTRAINT webhook_feeder_pkey PRIMARY KEY (is_current),
    CONSTRAINT webhook_feeder_is_one_row CHECK (is_current)
);
INSERT INTO webhook_feeder (owner, until) VALUES ('00000000-0000-0000-0000-000000000000', 'epoch');

-- Endpoints take turns.
CREATE INDEX webhook_jobs_ready ON webhook_jobs (shard, endpoint_id, due_at) WHERE lease_token IS NULL;
-- What an endpoint holds is bounded, and counted by this.
CREATE INDEX webhook_jobs_by_endpoint ON webhook_jobs (endpoint_id);
