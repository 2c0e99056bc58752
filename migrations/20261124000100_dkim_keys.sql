-- Configuration: the keys that sign a project's mail (RFC 6376), by domain. Read through a cache; never
-- written on the hot path. A retired key signs nothing more; its row stays, so that its selector is not
-- given to another key while old signatures are still looked up.

CREATE TABLE dkim_keys (
    id          uuid        NOT NULL,
    project_id  uuid        NOT NULL,
    domain      text        NOT NULL, -- lower-case A-labels
    selector    text        NOT NULL,
    algorithm   text        NOT NULL,
    private_key bytea       NOT NULL, -- PKCS#8, DER
    created_at  timestamptz NOT NULL,
    retired_at  timestamptz,
    CONSTRAINT dkim_keys_pkey PRIMARY KEY (id),
    CONSTRAINT dkim_keys_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id),
    CONSTRAINT dkim_keys_selector_key UNIQUE (project_id, domain, selector),
    CONSTRAINT dkim_keys_domain_form CHECK (domain = lower(domain) AND length(domain) BETWEEN 3 AND 253),
    CONSTRAINT dkim_keys_selector_form CHECK (selector = lower(selector) AND length(selector) BETWEEN 1 AND 63),
    CONSTRAINT dkim_keys_algorithm CHECK (algorithm IN ('rsa-sha256', 'ed25519-sha256'))
);
