-- A delivery that waits is `ready` once its time has come, and lies in exactly one of three partial indexes:
--   waiting (not ready)  by time            what is due becomes ready
--   ready                by whose turn it is claims skip from group to group, never over a backlog
--   leased               by expiry          rescue
-- So deliveries that wait for next week are never met by a claim, and a claim's cost follows from how many
-- (project, next hop) pairs it serves, not from how many rows they have. A row that is born leased enters the last
-- one only.

ALTER TABLE deliveries ADD COLUMN ready boolean NOT NULL DEFAULT true;
UPDATE deliveries SET ready = false WHERE due_at > now();

DROP INDEX deliveries_due;
CREATE INDEX deliveries_waiting ON deliveries (shard, due_at) WHERE lease_token IS NULL AND NOT ready;
CREATE INDEX deliveries_ready ON deliveries (shard, priority, project_id, next_hop, due_at, id)
    WHERE lease_token IS NULL AND ready;
