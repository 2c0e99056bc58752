-- What delivering straight to the world's MX hosts needs to know and to say.

-- What a message asks of its way.
ALTER TABLE messages ADD COLUMN tls text NOT NULL DEFAULT 'opportunistic'
    CONSTRAINT messages_tls CHECK (tls IN ('opportunistic', 'required', 'requiretls'));
ALTER TABLE messages ADD COLUMN ip_pool text;
ALTER TABLE deliveries ADD COLUMN tls text NOT NULL DEFAULT 'opportunistic'
    CONSTRAINT deliveries_tls CHECK (tls IN ('opportunistic', 'required', 'requiretls'));
ALTER TABLE deliveries ADD COLUMN ip_pool text;
-- Why a delivery was put off without a try, in words; empty once it is tried again.
ALTER TABLE deliveries ADD COLUMN held text;

-- By which rule a reply was judged, and what followed.
ALTER TABLE attempts ADD COLUMN provider text;
ALTER TABLE attempts ADD COLUMN rule text;
ALTER TABLE attempts ADD COLUMN confidence smallint; -- percent
ALTER TABLE attempts ADD COLUMN action text;

-- MTA-STS policies (RFC 8461 section 5.1): they outlive the web server that they came from, and this process.
CREATE TABLE mta_sts_policies (
    domain     text        NOT NULL,
    policy_id  text        NOT NULL,
    policy     text        NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT mta_sts_policies_pkey PRIMARY KEY (domain)
);

-- Processes that deliver: limits of next hops are divided among the live ones.
CREATE TABLE processes (
    id      uuid        NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT processes_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50);

-- Lanes that are not simply open, as their processes see them; each process writes its own few.
CREATE TABLE lane_states (
    process_id uuid        NOT NULL,
    lane       text        NOT NULL,
    state      jsonb       NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT lane_states_pkey PRIMARY KEY (process_id, lane)
);

-- Messages that each source address sent to each provider in a day, for warm-up.
CREATE TABLE source_usage (
    day      date   NOT NULL,
    source   text   NOT NULL,
    provider text   NOT NULL,
    messages bigint NOT NULL,
    CONSTRAINT source_usage_pkey PRIMARY KEY (day, source, provider)
);

-- What RFC 8460 reports are made of: sessions by day, policy, host and result.
CREATE TABLE tls_reports (
    day         date   NOT NULL,
    domain      text   NOT NULL,
    policy_type text   NOT NULL,
    host        text   NOT NULL,
    result      text   NOT NULL,
    sessions    bigint NOT NULL,
    CONSTRAINT tls_reports_pkey PRIMARY KEY (day, domain, policy_type, host, result),
    CONSTRAINT tls_reports_policy_type CHECK (policy_type IN ('sts', 'tlsa', 'no-policy-found'))
);
