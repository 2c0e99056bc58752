-- Jobs are found by endpoint, by message and by their own key. An index by event alone was one more to write for each call.
DROP INDEX webhook_jobs_by_event;
