-- The whole schema as pg_dump writes it, without the partitions of days. Written by a test, which holds it equal to the
-- migrations: MAILWRIGHT_WRITE_SCHEMA=1 scripts/test docs_schema_sql
CREATE FUNCTION public.mentions_address(content text, needle text, pattern text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE(((strpos(lower(content), needle) > 0) AND (lower(content) ~ pattern)), false);
CREATE TABLE public.accepting_processes (
    id uuid NOT NULL,
    seen_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    mode text NOT NULL,
    scopes text[] NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    name text DEFAULT ''::text NOT NULL,
    is_operator boolean DEFAULT false NOT NULL,
    from_domains text[],
    allowed_ips text[],
    messages_per_second integer,
    recipients_per_day bigint,
    CONSTRAINT api_keys_hash_is_sha256 CHECK ((octet_length(hash) = 32)),
    CONSTRAINT api_keys_messages_per_second CHECK ((messages_per_second >= 1)),
    CONSTRAINT api_keys_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
    CONSTRAINT api_keys_operator_is_live CHECK (((NOT is_operator) OR (mode = 'live'::text))),
    CONSTRAINT api_keys_recipients_per_day CHECK ((recipients_per_day >= 0))
);
CREATE TABLE public.attempts (
    shard integer NOT NULL,
    message_id uuid NOT NULL,
    id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    number integer NOT NULL,
    outcome text NOT NULL,
    class text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration_ms integer NOT NULL,
    stage text,
    host text,
    ip text,
    source_ip text,
    tls text,
    reply_code smallint,
    reply_status text,
    reply_text text,
    transcript text DEFAULT ''::text NOT NULL,
    provider text,
    rule text,
    confidence smallint,
    action text,
    CONSTRAINT attempts_number CHECK ((number >= 1))
)
PARTITION BY RANGE (message_id);
CREATE TABLE public.deliveries (
    shard integer NOT NULL,
    id uuid NOT NULL,
    message_id uuid NOT NULL,
    project_id uuid NOT NULL,
    next_hop text NOT NULL,
    priority smallint NOT NULL,
    size integer NOT NULL,
    due_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    lease_owner uuid,
    lease_token uuid,
    lease_until timestamp with time zone,
    ready boolean DEFAULT true NOT NULL,
    tls text DEFAULT 'opportunistic'::text NOT NULL,
    ip_pool text,
    held text,
    mode text DEFAULT 'live'::text NOT NULL,
    revoked_at timestamp with time zone,
    begun_at timestamp with time zone,
    charged boolean DEFAULT false NOT NULL,
    rescued smallint DEFAULT 0 NOT NULL,
    uncertain smallint DEFAULT 0 NOT NULL,
    CONSTRAINT deliveries_held CHECK ((held = ANY (ARRAY['paused'::text, 'shared'::text, 'rate'::text, 'budget'::text, 'warmup'::text, 'aside'::text, 'no_source'::text]))),
    CONSTRAINT deliveries_lease_is_whole CHECK ((((lease_token IS NULL) = (lease_until IS NULL)) AND ((lease_token IS NULL) = (lease_owner IS NULL)))),
    CONSTRAINT deliveries_leased_was_counted CHECK (((lease_token IS NULL) OR (attempt >= 1))),
    CONSTRAINT deliveries_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
    CONSTRAINT deliveries_only_leased_are_revoked CHECK (((revoked_at IS NULL) OR (lease_token IS NOT NULL))),
    CONSTRAINT deliveries_only_leased_begin CHECK (((begun_at IS NULL) OR (lease_token IS NOT NULL))),
    CONSTRAINT deliveries_priority CHECK (((priority >= 0) AND (priority <= 2))),
    CONSTRAINT deliveries_tls CHECK ((tls = ANY (ARRAY['opportunistic'::text, 'required'::text, 'requiretls'::text])))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='500', autovacuum_vacuum_cost_delay='0');
CREATE TABLE public.dkim_keys (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    domain text NOT NULL,
    selector text NOT NULL,
    algorithm text NOT NULL,
    private_key bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    retired_at timestamp with time zone,
    CONSTRAINT dkim_keys_algorithm CHECK ((algorithm = ANY (ARRAY['rsa-sha256'::text, 'ed25519-sha256'::text]))),
    CONSTRAINT dkim_keys_domain_form CHECK (((domain = lower(domain)) AND ((length(domain) >= 3) AND (length(domain) <= 253)))),
    CONSTRAINT dkim_keys_selector_form CHECK (((selector = lower(selector)) AND ((length(selector) >= 1) AND (length(selector) <= 63))))
);
CREATE TABLE public.erasures (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    address text,
    hash text NOT NULL,
    keep_suppressed boolean NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    mark uuid DEFAULT '00000000-0000-0000-0000-000000000000'::uuid NOT NULL,
    counts jsonb DEFAULT '{}'::jsonb NOT NULL,
    look_at timestamp with time zone NOT NULL,
    CONSTRAINT erasures_forgets_the_address CHECK (((address IS NULL) = (finished_at IS NOT NULL)))
);
CREATE TABLE public.erasures_waiting (
    erasure_id uuid NOT NULL,
    message_id uuid NOT NULL
);
CREATE TABLE public.events (
    shard integer NOT NULL,
    sequence integer NOT NULL,
    xid xid8 NOT NULL,
    era smallint NOT NULL,
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    message_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    mode text NOT NULL,
    type text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    data jsonb NOT NULL,
    CONSTRAINT events_era CHECK ((era >= 0)),
    CONSTRAINT events_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
    CONSTRAINT events_sequence CHECK ((sequence >= 1))
)
PARTITION BY RANGE (id);
CREATE TABLE public.idempotency_keys (
    shard integer NOT NULL,
    project_id uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    message_ids uuid[] NOT NULL,
    CONSTRAINT idempotency_keys_fingerprint_is_sha256 CHECK ((octet_length(fingerprint) = 32)),
    CONSTRAINT idempotency_keys_names_messages CHECK ((cardinality(message_ids) >= 1))
);
CREATE TABLE public.lane_states (
    process_id uuid NOT NULL,
    lane_group text NOT NULL,
    source text NOT NULL,
    provider text,
    phase text NOT NULL,
    paused_for_ms bigint,
    sessions_in_use integer NOT NULL,
    sessions_idle integer NOT NULL,
    sessions_window integer NOT NULL,
    sessions_limit integer NOT NULL,
    waiting integer NOT NULL,
    message_rate double precision,
    connection_rate double precision,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT lane_states_phase CHECK ((phase = ANY (ARRAY['open'::text, 'slowed'::text, 'shared'::text, 'probing'::text, 'paused'::text])))
);
CREATE TABLE public.log_eras (
    era smallint NOT NULL,
    system_identifier bigint NOT NULL,
    began_at timestamp with time zone NOT NULL
);
CREATE TABLE public.message_bodies (
    shard integer NOT NULL,
    message_id uuid NOT NULL,
    raw bytea NOT NULL,
    searchable_text text
)
PARTITION BY RANGE (message_id);
ALTER TABLE ONLY public.message_bodies ALTER COLUMN raw SET STORAGE EXTERNAL;
CREATE TABLE public.messages (
    shard integer NOT NULL,
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    mode text NOT NULL,
    sender text NOT NULL,
    author text NOT NULL,
    subject text NOT NULL,
    tags jsonb NOT NULL,
    metadata jsonb NOT NULL,
    priority smallint NOT NULL,
    size integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    tls text DEFAULT 'opportunistic'::text NOT NULL,
    ip_pool text,
    message_id text,
    batch_id uuid,
    idempotency_key text,
    template text,
    send_at timestamp with time zone,
    CONSTRAINT messages_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
    CONSTRAINT messages_priority CHECK (((priority >= 0) AND (priority <= 2))),
    CONSTRAINT messages_size CHECK ((size > 0)),
    CONSTRAINT messages_tls CHECK ((tls = ANY (ARRAY['opportunistic'::text, 'required'::text, 'requiretls'::text])))
)
PARTITION BY RANGE (id);
CREATE TABLE public.mta_sts_policies (
    domain text NOT NULL,
    policy_id text NOT NULL,
    policy text NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.processes (
    id uuid NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    clock_offset_ms bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE public.projects (
    id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    messages_per_second integer,
    recipients_per_message integer,
    recipients_per_day bigint,
    recipients_per_month bigint,
    bytes_per_month bigint,
    suspended_at timestamp with time zone,
    suspended_reason text,
    suspended_mail text,
    CONSTRAINT projects_bytes_per_month CHECK ((bytes_per_month >= 0)),
    CONSTRAINT projects_messages_per_second CHECK ((messages_per_second >= 1)),
    CONSTRAINT projects_name_not_blank CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'::text)),
    CONSTRAINT projects_recipients_per_day CHECK ((recipients_per_day >= 0)),
    CONSTRAINT projects_recipients_per_message CHECK ((recipients_per_message >= 1)),
    CONSTRAINT projects_recipients_per_month CHECK ((recipients_per_month >= 0)),
    CONSTRAINT projects_suspended_mail CHECK ((suspended_mail = ANY (ARRAY['keep'::text, 'cancel'::text]))),
    CONSTRAINT projects_suspension_is_whole CHECK ((((suspended_at IS NULL) = (suspended_mail IS NULL)) AND ((suspended_at IS NULL) = (suspended_reason IS NULL))))
);
CREATE TABLE public.quota_usage (
    subject_id uuid NOT NULL,
    quota text NOT NULL,
    mode text NOT NULL,
    period date NOT NULL,
    used bigint NOT NULL,
    CONSTRAINT quota_usage_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
    CONSTRAINT quota_usage_quota CHECK ((quota = ANY (ARRAY['recipients_per_day'::text, 'recipients_per_month'::text, 'bytes_per_month'::text]))),
    CONSTRAINT quota_usage_used CHECK ((used >= 0))
)
WITH (fillfactor='70');
CREATE TABLE public.recipients (
    shard integer NOT NULL,
    message_id uuid NOT NULL,
    id uuid NOT NULL,
    "position" smallint NOT NULL,
    kind text NOT NULL,
    address text NOT NULL,
    status text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    settled_at timestamp with time zone,
    reply_code smallint,
    reply_status text,
    reply_text text,
    reply_host text,
    reply_class text,
    events integer DEFAULT 1 NOT NULL,
    return_path text,
    places text,
    project_id uuid,
    CONSTRAINT recipients_attempts CHECK ((attempts >= 0)),
    CONSTRAINT recipients_events CHECK ((events >= 1)),
    CONSTRAINT recipients_kind CHECK ((kind = ANY (ARRAY['to'::text, 'cc'::text, 'bcc'::text]))),
    CONSTRAINT recipients_settled_has_time CHECK (((status <> ALL (ARRAY['queued'::text, 'deferred'::text])) = (settled_at IS NOT NULL))),
    CONSTRAINT recipients_status CHECK ((status = ANY (ARRAY['queued'::text, 'deferred'::text, 'delivered'::text, 'bounced'::text, 'expired'::text, 'suppressed'::text, 'cancelled'::text])))
)
PARTITION BY RANGE (message_id);
CREATE TABLE public.retention (
    project_id uuid NOT NULL,
    kind text NOT NULL,
    span_seconds bigint,
    mark uuid DEFAULT '00000000-0000-0000-0000-000000000000'::uuid NOT NULL,
    look_at timestamp with time zone NOT NULL,
    CONSTRAINT retention_kind CHECK ((kind = ANY (ARRAY['bodies'::text, 'metadata'::text, 'transcripts'::text, 'events'::text]))),
    CONSTRAINT retention_span CHECK ((span_seconds >= 3600))
);
CREATE TABLE public.retention_held (
    project_id uuid NOT NULL,
    kind text NOT NULL,
    message_id uuid NOT NULL,
    look_at timestamp with time zone NOT NULL
);
CREATE TABLE public.sandbox_messages (
    shard integer NOT NULL,
    message_id uuid NOT NULL,
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    sender text NOT NULL,
    recipient text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    has_attachments boolean DEFAULT false NOT NULL
)
PARTITION BY RANGE (message_id);
CREATE TABLE public.scheduled_messages (
    shard integer NOT NULL,
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    mode text NOT NULL,
    send_at timestamp with time zone NOT NULL,
    request bytea NOT NULL,
    tags jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    summary jsonb DEFAULT '{}'::jsonb NOT NULL,
    expires_at timestamp with time zone,
    idempotency_key text,
    batch_id uuid,
    template text,
    version integer DEFAULT 1 NOT NULL,
    lease_owner uuid,
    lease_until timestamp with time zone,
    refused jsonb,
    CONSTRAINT scheduled_messages_lease_is_whole CHECK (((lease_owner IS NULL) = (lease_until IS NULL))),
    CONSTRAINT scheduled_messages_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text])))
);
CREATE TABLE public.schema_compatibility (
    is_current boolean DEFAULT true NOT NULL,
    min_binary bigint NOT NULL,
    CONSTRAINT schema_compatibility_is_one_row CHECK (is_current)
);
CREATE TABLE public.source_usage (
    day date NOT NULL,
    source text NOT NULL,
    provider text NOT NULL,
    messages bigint NOT NULL
);
CREATE TABLE public.suppressions (
    shard integer NOT NULL,
    project_id uuid NOT NULL,
    address text NOT NULL,
    stream text DEFAULT ''::text NOT NULL,
    id uuid NOT NULL,
    reason text NOT NULL,
    evidence jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    mode text DEFAULT 'live'::text NOT NULL,
    tag text DEFAULT ''::text NOT NULL,
    class text,
    note text DEFAULT ''::text NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT suppressions_address_form CHECK ((address = lower((address COLLATE "C")))),
    CONSTRAINT suppressions_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
    CONSTRAINT suppressions_one_scope CHECK (((stream = ''::text) OR (tag = ''::text))),
    CONSTRAINT suppressions_reason CHECK ((reason = ANY (ARRAY['bounce'::text, 'complaint'::text, 'unsubscribe'::text, 'manual'::text])))
);
CREATE TABLE public.template_settings (
    project_id uuid NOT NULL,
    mode text NOT NULL,
    review_required boolean NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    changed_by text NOT NULL,
    CONSTRAINT template_settings_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text])))
);
CREATE TABLE public.template_steps (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    template_id uuid NOT NULL,
    action text NOT NULL,
    version integer,
    actor text NOT NULL,
    reason text,
    at timestamp with time zone NOT NULL,
    CONSTRAINT template_steps_action CHECK ((action = ANY (ARRAY['created'::text, 'changed'::text, 'renamed'::text, 'submitted'::text, 'approved'::text, 'refused'::text, 'published'::text, 'deleted'::text])))
);
CREATE TABLE public.template_versions (
    template_id uuid NOT NULL,
    number integer NOT NULL,
    state text NOT NULL,
    default_locale text NOT NULL,
    locales jsonb NOT NULL,
    samples jsonb NOT NULL,
    uses text[] NOT NULL,
    description text NOT NULL,
    reason text,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    CONSTRAINT template_versions_number CHECK ((number >= 1)),
    CONSTRAINT template_versions_state CHECK ((state = ANY (ARRAY['draft'::text, 'submitted'::text, 'approved'::text, 'refused'::text])))
);
CREATE TABLE public.templates (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    mode text NOT NULL,
    alias text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    latest_version integer NOT NULL,
    published_version integer,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT templates_kind CHECK ((kind = ANY (ARRAY['message'::text, 'layout'::text, 'partial'::text]))),
    CONSTRAINT templates_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
    CONSTRAINT templates_published_exists CHECK (((published_version >= 1) AND (published_version <= latest_version)))
);
CREATE TABLE public.tls_reports (
    day date NOT NULL,
    domain text NOT NULL,
    policy_type text NOT NULL,
    host text NOT NULL,
    result text NOT NULL,
    sessions bigint NOT NULL,
    CONSTRAINT tls_reports_policy_type CHECK ((policy_type = ANY (ARRAY['sts'::text, 'tlsa'::text, 'no-policy-found'::text]))),
    CONSTRAINT tls_reports_result CHECK ((result = ANY (ARRAY['successful'::text, 'starttls-not-supported'::text, 'certificate-host-mismatch'::text, 'certificate-expired'::text, 'certificate-not-trusted'::text, 'validation-failure'::text, 'tlsa-invalid'::text, 'dnssec-invalid'::text, 'dane-required'::text, 'sts-policy-fetch-error'::text, 'sts-policy-invalid'::text, 'sts-webpki-invalid'::text])))
);
CREATE TABLE public.upload_contents (
    project_id uuid NOT NULL,
    sha256 bytea NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT upload_contents_sha256 CHECK ((octet_length(sha256) = 32))
);
ALTER TABLE ONLY public.upload_contents ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE TABLE public.uploads (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    mode text NOT NULL,
    sha256 bytea NOT NULL,
    size integer NOT NULL,
    filename text NOT NULL,
    content_type text NOT NULL,
    idempotency_key text,
    created_at timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone NOT NULL,
    CONSTRAINT uploads_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text])))
);
CREATE TABLE public.webhook_deliveries (
    shard integer NOT NULL,
    message_id uuid NOT NULL,
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    event_id uuid NOT NULL,
    status text NOT NULL,
    attempts integer NOT NULL,
    response_code smallint,
    detail text NOT NULL,
    settled_at timestamp with time zone NOT NULL,
    CONSTRAINT webhook_deliveries_status CHECK ((status = ANY (ARRAY['succeeded'::text, 'failed'::text])))
)
PARTITION BY RANGE (message_id);
CREATE TABLE public.webhook_endpoints (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    url text NOT NULL,
    events text[] NOT NULL,
    tags text[] NOT NULL,
    description text NOT NULL,
    secret bytea NOT NULL,
    enabled boolean NOT NULL,
    disabled_reason text,
    failing_since timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    mode text DEFAULT 'both'::text NOT NULL,
    CONSTRAINT webhook_endpoints_disabled_has_reason CHECK ((enabled = (disabled_reason IS NULL))),
    CONSTRAINT webhook_endpoints_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text, 'both'::text]))),
    CONSTRAINT webhook_endpoints_secret_length CHECK (((octet_length(secret) >= 24) AND (octet_length(secret) <= 64)))
);
CREATE TABLE public.webhook_jobs (
    shard integer NOT NULL,
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    message_id uuid NOT NULL,
    event_id uuid NOT NULL,
    due_at timestamp with time zone NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    lease_owner uuid,
    lease_token uuid,
    lease_until timestamp with time zone,
    rescued smallint DEFAULT 0 NOT NULL,
    CONSTRAINT webhook_jobs_lease_is_whole CHECK ((((lease_token IS NULL) = (lease_until IS NULL)) AND ((lease_token IS NULL) = (lease_owner IS NULL)))),
    CONSTRAINT webhook_jobs_leased_was_counted CHECK (((lease_token IS NULL) OR (attempt >= 1)))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='500', autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY public.accepting_processes
    ADD CONSTRAINT accepting_processes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_hash_key UNIQUE (hash);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);
ALTER TABLE public.attempts
    ADD CONSTRAINT attempts_confidence CHECK (((confidence >= 0) AND (confidence <= 100))) NOT VALID;
ALTER TABLE public.attempts
    ADD CONSTRAINT attempts_outcome CHECK ((outcome = ANY (ARRAY['accepted'::text, 'deferred'::text, 'rejected'::text, 'uncertain'::text, 'expired'::text, 'suppressed'::text]))) NOT VALID;
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (shard, message_id, id);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (shard, id);
ALTER TABLE ONLY public.dkim_keys
    ADD CONSTRAINT dkim_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.dkim_keys
    ADD CONSTRAINT dkim_keys_selector_key UNIQUE (project_id, domain, selector);
ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.erasures_waiting
    ADD CONSTRAINT erasures_waiting_pkey PRIMARY KEY (erasure_id, message_id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (shard, message_id, id);
ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (shard, project_id, key);
ALTER TABLE ONLY public.lane_states
    ADD CONSTRAINT lane_states_pkey PRIMARY KEY (process_id, lane_group, source);
ALTER TABLE ONLY public.log_eras
    ADD CONSTRAINT log_eras_pkey PRIMARY KEY (era);
ALTER TABLE ONLY public.message_bodies
    ADD CONSTRAINT message_bodies_pkey PRIMARY KEY (shard, message_id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (shard, id);
ALTER TABLE ONLY public.mta_sts_policies
    ADD CONSTRAINT mta_sts_policies_pkey PRIMARY KEY (domain);
ALTER TABLE ONLY public.processes
    ADD CONSTRAINT processes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_name_key UNIQUE (name);
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.quota_usage
    ADD CONSTRAINT quota_usage_pkey PRIMARY KEY (subject_id, quota, mode, period);
ALTER TABLE ONLY public.recipients
    ADD CONSTRAINT recipients_pkey PRIMARY KEY (shard, message_id, id);
ALTER TABLE ONLY public.retention_held
    ADD CONSTRAINT retention_held_pkey PRIMARY KEY (project_id, kind, message_id);
ALTER TABLE ONLY public.retention
    ADD CONSTRAINT retention_pkey PRIMARY KEY (project_id, kind);
ALTER TABLE ONLY public.sandbox_messages
    ADD CONSTRAINT sandbox_messages_pkey PRIMARY KEY (shard, message_id, id);
ALTER TABLE ONLY public.scheduled_messages
    ADD CONSTRAINT scheduled_messages_pkey PRIMARY KEY (shard, id);
ALTER TABLE ONLY public.schema_compatibility
    ADD CONSTRAINT schema_compatibility_pkey PRIMARY KEY (is_current);
ALTER TABLE ONLY public.source_usage
    ADD CONSTRAINT source_usage_pkey PRIMARY KEY (day, source, provider);
ALTER TABLE ONLY public.suppressions
    ADD CONSTRAINT suppressions_pkey PRIMARY KEY (shard, project_id, address, mode, stream, tag);
ALTER TABLE ONLY public.template_settings
    ADD CONSTRAINT template_settings_pkey PRIMARY KEY (project_id, mode);
ALTER TABLE ONLY public.template_steps
    ADD CONSTRAINT template_steps_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.template_versions
    ADD CONSTRAINT template_versions_pkey PRIMARY KEY (template_id, number);
ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_alias UNIQUE (project_id, mode, alias);
ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tls_reports
    ADD CONSTRAINT tls_reports_pkey PRIMARY KEY (day, domain, policy_type, host, result);
ALTER TABLE ONLY public.upload_contents
    ADD CONSTRAINT upload_contents_pkey PRIMARY KEY (project_id, sha256);
ALTER TABLE ONLY public.uploads
    ADD CONSTRAINT uploads_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (shard, message_id, id);
ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.webhook_jobs
    ADD CONSTRAINT webhook_jobs_pkey PRIMARY KEY (shard, id);
CREATE INDEX api_keys_by_project ON public.api_keys USING btree (project_id, id DESC);
CREATE INDEX deliveries_expiring ON public.deliveries USING btree (shard, expires_at) WHERE ((lease_token IS NULL) AND (expires_at > '-infinity'::timestamp with time zone));
CREATE INDEX deliveries_leased ON public.deliveries USING btree (shard, lease_until) WHERE (lease_token IS NOT NULL);
CREATE INDEX deliveries_ready ON public.deliveries USING btree (shard, priority, project_id, next_hop, due_at, id) WHERE ((lease_token IS NULL) AND ready);
CREATE INDEX deliveries_revoked ON public.deliveries USING btree (shard, lease_owner) WHERE (revoked_at IS NOT NULL);
CREATE INDEX deliveries_waiting ON public.deliveries USING btree (shard, ready, due_at) WHERE (lease_token IS NULL);
CREATE INDEX erasures_by_project ON public.erasures USING btree (project_id, id DESC);
CREATE INDEX erasures_pending ON public.erasures USING btree (look_at) WHERE (finished_at IS NULL);
CREATE INDEX events_in_commit_order ON ONLY public.events USING btree (shard, project_id, era, xid);
CREATE INDEX idempotency_keys_expiry ON public.idempotency_keys USING btree (shard, expires_at);
CREATE INDEX messages_by_batch ON ONLY public.messages USING btree (project_id, batch_id) WHERE (batch_id IS NOT NULL);
CREATE INDEX messages_by_project ON ONLY public.messages USING btree (project_id, id DESC);
CREATE INDEX recipients_by_project_address ON ONLY public.recipients USING btree (project_id, split_part(address, '@'::text, '-1'::integer), lower(address), message_id DESC);
CREATE INDEX retention_due ON public.retention USING btree (look_at) WHERE (span_seconds IS NOT NULL);
CREATE INDEX retention_held_due ON public.retention_held USING btree (project_id, kind, look_at);
CREATE INDEX sandbox_messages_by_project ON ONLY public.sandbox_messages USING btree (project_id, id DESC);
CREATE INDEX scheduled_messages_by_batch ON public.scheduled_messages USING btree (project_id, batch_id) WHERE (batch_id IS NOT NULL);
CREATE INDEX scheduled_messages_by_project ON public.scheduled_messages USING btree (shard, project_id, id);
CREATE INDEX scheduled_messages_of_project ON public.scheduled_messages USING btree (project_id, id DESC);
CREATE INDEX scheduled_messages_waiting ON public.scheduled_messages USING btree (shard, send_at) WHERE (refused IS NULL);
CREATE INDEX suppressions_changed ON public.suppressions USING btree (shard, updated_at);
CREATE INDEX suppressions_expiring ON public.suppressions USING btree (shard, expires_at) WHERE (expires_at IS NOT NULL);
CREATE INDEX suppressions_newest ON public.suppressions USING btree (shard, project_id, mode, id);
CREATE INDEX template_steps_by_template ON public.template_steps USING btree (template_id, id DESC);
CREATE INDEX templates_by_project ON public.templates USING btree (project_id, mode, id DESC);
CREATE INDEX uploads_by_project ON public.uploads USING btree (project_id, id DESC);
CREATE UNIQUE INDEX uploads_key ON public.uploads USING btree (project_id, mode, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE UNIQUE INDEX uploads_same ON public.uploads USING btree (project_id, mode, sha256, filename, content_type);
CREATE INDEX uploads_unused ON public.uploads USING btree (last_used_at);
CREATE INDEX webhook_deliveries_by_endpoint ON ONLY public.webhook_deliveries USING btree (endpoint_id, event_id DESC);
CREATE INDEX webhook_endpoints_by_project ON public.webhook_endpoints USING btree (project_id, id DESC);
CREATE INDEX webhook_jobs_by_event ON public.webhook_jobs USING btree (shard, event_id);
CREATE INDEX webhook_jobs_by_message ON public.webhook_jobs USING btree (shard, message_id);
CREATE INDEX webhook_jobs_due ON public.webhook_jobs USING btree (shard, due_at, id) WHERE (lease_token IS NULL);
CREATE INDEX webhook_jobs_leased ON public.webhook_jobs USING btree (shard, lease_until) WHERE (lease_token IS NOT NULL);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.dkim_keys
    ADD CONSTRAINT dkim_keys_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.retention
    ADD CONSTRAINT retention_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.template_settings
    ADD CONSTRAINT template_settings_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.template_versions
    ADD CONSTRAINT template_versions_template_fkey FOREIGN KEY (template_id) REFERENCES public.templates(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
