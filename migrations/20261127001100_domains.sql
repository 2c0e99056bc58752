-- Domains that projects send from.

CREATE TABLE domains (
    id               uuid        NOT NULL,
    project_id       uuid        NOT NULL,
    name             text        NOT NULL,
    state            text        NOT NULL,
    -- When it was proved first, by its records or by an operator's word: since then it is nobody else's.
    proved_at        timestamptz,
    -- Whether its keys are published as aliases of names in the zone of this installation.
    is_delegated     boolean     NOT NULL DEFAULT false,
    -- Days after which a new key is made; NULL: when asked to.
    rotate_days      integer,
    return_path_label text       NOT NULL DEFAULT 'bounce',
    has_return_path  boolean     NOT NULL DEFAULT false,
    wrong_since      timestamptz,
    -- What was seen of each record last.
    checks           jsonb       NOT NULL DEFAULT '[]',
    -- What receivers make of it (RFC 9989).
    dmarc            jsonb,
    checked_at       timestamptz,
    next_check_at    timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    CONSTRAINT domains_pkey PRIMARY KEY (id),
    CONSTRAINT domains_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id),
    CONSTRAINT domains_name_key UNIQUE (project_id, name),
    CONSTRAINT domains_name_form CHECK (name = lower(name) AND length(name) BETWEEN 3 AND 253),
    CONSTRAINT domains_state CHECK (state IN ('pending', 'verified', 'warning', 'failed')),
    CONSTRAINT domains_unproved_is_pending CHECK (proved_at IS NOT NULL OR state = 'pending'),
    CONSTRAINT domains_rotate_days CHECK (rotate_days BETWEEN 5 AND 3650)
);

-- A domain is proved by one project.
CREATE UNIQUE INDEX domains_proved_key ON domains (name) WHERE proved_at IS NOT NULL;
CREATE INDEX domains_by_next_check ON domains (next_check_at);

-- A key waits until its record was seen, signs, and is retired.
ALTER TABLE dkim_keys ADD COLUMN signs_since timestamptz;
UPDATE dkim_keys SET signs_since = created_at;

-- Processes that know nothing of keys that wait would sign with them.
UPDATE schema_compatibility SET min_binary = 20261127001100;

-- Whether its live mail is sent from verified domains only.
ALTER TABLE projects ADD COLUMN requires_verified_domain boolean NOT NULL DEFAULT false;

-- Who holds keys of a domain today has it; of several the one that held them first has proved it.
INSERT INTO domains (id, project_id, name, state, proved_at, next_check_at, created_at)
SELECT gen_random_uuid(), k.project_id, k.domain, CASE k.place WHEN 1 THEN 'verified' ELSE 'pending' END,
    CASE k.place WHEN 1 THEN k.since END, k.since, k.since
FROM (
    SELECT project_id, domain, min(created_at) AS since,
        row_number() OVER (PARTITION BY domain ORDER BY min(created_at), project_id) AS place
    FROM dkim_keys WHERE retired_at IS NULL GROUP BY project_id, domain
) AS k;
