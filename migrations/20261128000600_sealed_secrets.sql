-- Secrets that must be read again are sealed by a key that is not here, if the operator has set one: `sealed` says of each row which it is. What was
-- there lies as it did until `mailwright secrets seal`.
ALTER TABLE webhook_endpoints
    ADD COLUMN sealed boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT webhook_endpoints_secret_length,
    DROP CONSTRAINT webhook_endpoints_signing_seed_length,
    ADD CONSTRAINT webhook_endpoints_secret_length CHECK (sealed OR octet_length(secret) BETWEEN 24 AND 64),
    ADD CONSTRAINT webhook_endpoints_signing_seed_length CHECK (sealed OR octet_length(signing_seed) = 32);

ALTER TABLE webhook_old_secrets ADD COLUMN sealed boolean NOT NULL DEFAULT false;

ALTER TABLE dkim_keys ADD COLUMN sealed boolean NOT NULL DEFAULT false;

ALTER TABLE token_keys
    ADD COLUMN sealed boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT token_keys_secret,
    ADD CONSTRAINT token_keys_secret CHECK (sealed OR octet_length(secret) = 32);

-- Processes of before would sign by what is sealed.
UPDATE schema_compatibility SET min_binary = 20261128000600;
