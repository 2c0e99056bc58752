-- Webhook endpoints hear of live mail, of test mail, or of both. Those that were there heard of both, and still do.
--
-- Leaves processes of the version before working: they tell endpoints of both.
ALTER TABLE webhook_endpoints ADD COLUMN mode text NOT NULL DEFAULT 'both'
    CONSTRAINT webhook_endpoints_mode CHECK (mode IN ('live', 'test', 'both'));
