-- Whether a day's webhooks are still owed is asked every few minutes, and was answered by reading all jobs that wait.
--
-- Leaves processes of the version before working.
CREATE INDEX webhook_jobs_by_message ON webhook_jobs (shard, message_id);
CREATE INDEX webhook_jobs_by_event ON webhook_jobs (shard, event_id);
