-- Config tables: small, read-mostly, cached by the process, never written on the hot path.
-- On a distributed Postgres they are reference tables.

CREATE TABLE projects (
    id         uuid        NOT NULL,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT projects_pkey PRIMARY KEY (id),
    CONSTRAINT projects_name_key UNIQUE (name),
    CONSTRAINT projects_name_not_blank CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$')
);

-- `hash` is SHA-256 of the whole key: 256 random bits need no slow hash. `prefix` is what a person
-- may see of it. No `last_used_at`: a request must not write here.
CREATE TABLE api_keys (
    id         uuid        NOT NULL,
    project_id uuid        NOT NULL,
    mode       text        NOT NULL,
    scopes     text[]      NOT NULL,
    prefix     text        NOT NULL,
    hash       bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id),
    CONSTRAINT api_keys_hash_key UNIQUE (hash),
    CONSTRAINT api_keys_hash_is_sha256 CHECK (octet_length(hash) = 32),
    CONSTRAINT api_keys_mode CHECK (mode IN ('live', 'test'))
);
