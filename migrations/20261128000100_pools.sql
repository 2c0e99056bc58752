-- Pools of a project's own domains: the author's domain of a message is one of them, the same for each recipient.
CREATE TABLE domain_pools (
    project_id uuid        NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT domain_pools_pkey PRIMARY KEY (project_id, name)
);
CREATE TABLE domain_pool_members (
    project_id uuid    NOT NULL,
    pool       text    NOT NULL,
    domain_id  uuid    NOT NULL REFERENCES domains ON DELETE CASCADE,
    weight     integer NOT NULL,
    -- Receivers do not know it yet: they get more of its mail from day to day.
    warms_up   boolean NOT NULL,
    CONSTRAINT domain_pool_members_pkey PRIMARY KEY (project_id, pool, domain_id),
    CONSTRAINT domain_pool_members_pool FOREIGN KEY (project_id, pool) REFERENCES domain_pools ON DELETE CASCADE,
    CONSTRAINT domain_pool_members_weight CHECK (weight BETWEEN 1 AND 1000)
);
CREATE INDEX domain_pool_members_by_domain ON domain_pool_members (domain_id);

-- What addresses, and domains, that are warmed up sent to each receiver on each day, and how it was taken at once.
ALTER TABLE source_usage RENAME TO warmup_days;
ALTER TABLE warmup_days RENAME COLUMN source TO subject;
ALTER TABLE warmup_days RENAME COLUMN provider TO receiver;
ALTER TABLE warmup_days
    ADD COLUMN kind text NOT NULL DEFAULT 'address',
    ADD COLUMN accepted bigint NOT NULL DEFAULT 0,
    ADD COLUMN deferred bigint NOT NULL DEFAULT 0,
    ADD COLUMN refused bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT source_usage_pkey,
    ADD CONSTRAINT warmup_days_pkey PRIMARY KEY (kind, day, subject, receiver),
    ADD CONSTRAINT warmup_days_kind CHECK (kind IN ('address', 'domain'));
ALTER TABLE warmup_days ALTER COLUMN kind DROP DEFAULT;
-- How it was taken was not counted before.
UPDATE warmup_days SET accepted = messages;

-- Of those rejected: because of who sends, how much, or what.
ALTER TABLE outcomes ADD COLUMN refused bigint NOT NULL DEFAULT 0;

-- How far each has come with each receiver.
CREATE TABLE warmups (
    kind     text     NOT NULL,
    -- A source address's name; a domain's id.
    subject  text     NOT NULL,
    receiver text     NOT NULL,
    -- Steps taken.
    step     smallint NOT NULL,
    -- The last day with mail that was judged.
    judged   date     NOT NULL,
    CONSTRAINT warmups_pkey PRIMARY KEY (kind, subject, receiver),
    CONSTRAINT warmups_kind CHECK (kind IN ('address', 'domain'))
);

-- What a request to send may say; domain_pool is new.
CREATE OR REPLACE FUNCTION mailwright.fields(is_raw boolean) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT ARRAY['send_at', 'raw', 'per_recipient', 'from', 'to', 'cc', 'bcc', 'reply_to', 'subject', 'text', 'html',
        'alternatives', 'attachments', 'headers', 'message_id', 'return_path', 'otp', 'auto_replies', 'tags', 'metadata',
        'priority', 'expires_at', 'ttl_seconds', 'tls', 'ip_pool', 'sandbox', 'template', 'unsubscribe', 'tracking',
        'domain_pool']
$$;

-- Faults of what asks for one of the project's domains.
CREATE FUNCTION mailwright.pool_faults(message jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    pool jsonb := mailwright.value(message, 'domain_pool');
BEGIN
    IF pool IS NULL THEN
        RETURN '[]';
    ELSIF mailwright.value(message, 'raw') IS NOT NULL THEN
        RETURN mailwright.fault('/domain_pool', 'conflict',
            'the message in raw has its own; leave out domain_pool or raw');
    ELSIF jsonb_typeof(pool) <> 'string' THEN
        RETURN mailwright.wrong_type('/domain_pool', 'a string', pool);
    ELSIF pool #>> '{}' !~ '^[A-Za-z0-9_.-]{1,64}$' THEN
        RETURN mailwright.fault('/domain_pool', 'invalid_domain_pool',
            'must have 1 to 64 letters, digits, ''-'', ''_'' and ''.''');
    ELSIF mailwright.value(message, 'return_path') IS NOT NULL THEN
        RETURN mailwright.fault('/return_path', 'conflict',
            'it would lie in another domain than the author''s: leave out return_path or domain_pool');
    END IF;
    RETURN '[]';
END $$;

CREATE OR REPLACE FUNCTION mailwright.option_faults(message jsonb, limits jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT mailwright.label_faults(message, limits) || mailwright.link_faults(message, limits) || mailwright.pool_faults(message)
$$;
-- Which domain it will be is chosen later: a role that may send from some alone asks for none.
DO $$
DECLARE
    of regprocedure := 'mailwright.enqueue(jsonb, text, text, text, timestamptz)';
    before text := pg_get_functiondef(of);
    judged text := 'IF NOT substring(author';
    after text := replace(before, judged,
        'IF sender.from_domains IS NOT NULL AND mailwright.value(request, ''domain_pool'') IS NOT NULL THEN
        RAISE EXCEPTION ''the role % may send from some domains alone: leave out domain_pool'', quote_ident(session_user)
            USING ERRCODE = ''insufficient_privilege'';
    END IF;
    ' || judged);
BEGIN
    IF after = before THEN
        RAISE EXCEPTION 'mailwright.enqueue is not as migrations made it';
    END IF;
    EXECUTE after;
END $$;

REVOKE ALL ON FUNCTION mailwright.pool_faults(jsonb) FROM PUBLIC;

-- Processes of before count in the table that has another name now.
UPDATE schema_compatibility SET min_binary = 20261128000100;
