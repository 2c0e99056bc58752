-- In whose payload an endpoint is told of events.
ALTER TABLE webhook_endpoints ADD COLUMN form text NOT NULL DEFAULT 'standard';

-- Processes of before would tell every endpoint in the payload of Standard Webhooks.
UPDATE schema_compatibility SET min_binary = 20261128000300;
