-- Keys that sign requests: their text must be read again to verify what they signed, so it is kept, sealed by a key that is not here.
ALTER TABLE api_keys ADD COLUMN sealed bytea;
