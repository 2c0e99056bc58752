-- How long a project keeps what is settled, and the erasure of an address.
--
-- New tables and one function only: processes of earlier versions are not broken, and purge and erase nothing.

-- What a project keeps for less than the installation does. A row without a span keeps its mark.
CREATE TABLE retention (
    project_id uuid NOT NULL,
    kind text NOT NULL,
    span_seconds bigint,
    -- Messages up to this id were purged, or are in retention_held.
    mark uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    -- When it is looked at next; whoever looks puts it off.
    look_at timestamptz NOT NULL,
    CONSTRAINT retention_pkey PRIMARY KEY (project_id, kind),
    CONSTRAINT retention_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id),
    CONSTRAINT retention_kind CHECK (kind IN ('bodies', 'metadata', 'transcripts', 'events')),
    CONSTRAINT retention_span CHECK (span_seconds >= 3600)
);
CREATE INDEX retention_due ON retention (look_at) WHERE span_seconds IS NOT NULL;

-- Messages behind the mark that could not be purged yet: they are scheduled, or not settled for long enough.
CREATE TABLE retention_held (
    project_id uuid NOT NULL,
    kind text NOT NULL,
    message_id uuid NOT NULL,
    look_at timestamptz NOT NULL,
    CONSTRAINT retention_held_pkey PRIMARY KEY (project_id, kind, message_id)
);
CREATE INDEX retention_held_due ON retention_held (project_id, kind, look_at);

-- Addresses that are erased, or were. The address itself goes in the commit that finishes the work.
CREATE TABLE erasures (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    address text,
    hash text NOT NULL,
    keep_suppressed boolean NOT NULL,
    requested_at timestamptz NOT NULL,
    finished_at timestamptz,
    -- Messages up to this id were looked through.
    mark uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    counts jsonb NOT NULL DEFAULT '{}',
    look_at timestamptz NOT NULL,
    CONSTRAINT erasures_pkey PRIMARY KEY (id),
    CONSTRAINT erasures_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id),
    CONSTRAINT erasures_forgets_the_address CHECK ((address IS NULL) = (finished_at IS NOT NULL))
);
CREATE INDEX erasures_by_project ON erasures (project_id, id DESC);
CREATE INDEX erasures_pending ON erasures (look_at) WHERE finished_at IS NULL;

-- Messages that an erasure found and that are not settled yet.
CREATE TABLE erasures_waiting (
    erasure_id uuid NOT NULL,
    message_id uuid NOT NULL,
    CONSTRAINT erasures_waiting_pkey PRIMARY KEY (erasure_id, message_id)
);

-- Whether a text names an address: the needle in lower case, and a pattern that knows where an address ends.
CREATE FUNCTION mentions_address(content text, needle text, pattern text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(strpos(lower(content), needle) > 0 AND lower(content) ~ pattern, false);
REVOKE ALL ON FUNCTION mentions_address(text, text, text) FROM PUBLIC;
