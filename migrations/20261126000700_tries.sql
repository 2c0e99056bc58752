-- Attempts count every claim; waits and bounds go by what those claims led to.
--
-- `charged`: the last try met trouble of the server, so that the next one draws on its budget of retries.
-- `rescued`: claims whose process never said how they ended. They use up no retry, and a job that keeps ending its
-- process waits longer each time. `uncertain`: tries whose message may have been taken; their number is bounded.
--
-- Writers of the queue wait while its indexes are built: about a second for a million rows.
--
-- Leaves processes of the version before working: they count neither, as before.
ALTER TABLE deliveries
    ADD COLUMN charged boolean NOT NULL DEFAULT false,
    ADD COLUMN rescued smallint NOT NULL DEFAULT 0,
    ADD COLUMN uncertain smallint NOT NULL DEFAULT 0;
ALTER TABLE webhook_jobs ADD COLUMN rescued smallint NOT NULL DEFAULT 0;
-- What is past its last instant, although nothing may be claimed for its next hop. Only a statement that says so itself
-- can use it: no other is led astray.
CREATE INDEX deliveries_expiring ON deliveries (shard, expires_at) WHERE lease_token IS NULL AND expires_at > '-infinity';

-- Polls look for the first that is due among what waits for its time, and among what is ready.
DROP INDEX deliveries_waiting;
CREATE INDEX deliveries_waiting ON deliveries (shard, ready, due_at) WHERE lease_token IS NULL;
