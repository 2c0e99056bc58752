-- Tenancy: what a project and a key may use, keys that are an operator's, and projects that are suspended.
--
-- Leaves processes of the version before working: they know nothing of limits and suspensions, and keep none. Reads two
-- small tables.

ALTER TABLE projects
    ADD COLUMN messages_per_second    integer CONSTRAINT projects_messages_per_second CHECK (messages_per_second >= 1),
    ADD COLUMN recipients_per_message integer CONSTRAINT projects_recipients_per_message CHECK (recipients_per_message >= 1),
    ADD COLUMN recipients_per_day     bigint CONSTRAINT projects_recipients_per_day CHECK (recipients_per_day >= 0),
    ADD COLUMN recipients_per_month   bigint CONSTRAINT projects_recipients_per_month CHECK (recipients_per_month >= 0),
    ADD COLUMN bytes_per_month        bigint CONSTRAINT projects_bytes_per_month CHECK (bytes_per_month >= 0),
    ADD COLUMN suspended_at     timestamptz,
    ADD COLUMN suspended_reason text,
    ADD COLUMN suspended_mail   text CONSTRAINT projects_suspended_mail CHECK (suspended_mail IN ('keep', 'cancel')),
    ADD CONSTRAINT projects_suspension_is_whole CHECK (
        (suspended_at IS NULL) = (suspended_mail IS NULL) AND (suspended_at IS NULL) = (suspended_reason IS NULL));

-- An operator's key acts for any project. A test key never does.
ALTER TABLE api_keys
    ADD COLUMN name                text NOT NULL DEFAULT '',
    ADD COLUMN is_operator         boolean NOT NULL DEFAULT false,
    ADD COLUMN from_domains        text[],
    ADD COLUMN allowed_ips         text[], -- networks, as CIDR
    ADD COLUMN messages_per_second integer CONSTRAINT api_keys_messages_per_second CHECK (messages_per_second >= 1),
    ADD COLUMN recipients_per_day  bigint CONSTRAINT api_keys_recipients_per_day CHECK (recipients_per_day >= 0),
    ADD CONSTRAINT api_keys_operator_is_live CHECK (NOT is_operator OR mode = 'live');
CREATE INDEX api_keys_by_project ON api_keys (project_id, id DESC);

-- What was handed out of a quota in one period: to processes, in slices, never message by message. It is never more than the
-- quota was when the slice was taken.
CREATE TABLE quota_usage (
    subject_id uuid   NOT NULL, -- of a project, or of a key
    quota      text   NOT NULL,
    mode       text   NOT NULL,
    period     date   NOT NULL, -- its first day, in UTC
    used       bigint NOT NULL,
    CONSTRAINT quota_usage_pkey PRIMARY KEY (subject_id, quota, mode, period),
    CONSTRAINT quota_usage_quota CHECK (quota IN ('recipients_per_day', 'recipients_per_month', 'bytes_per_month')),
    CONSTRAINT quota_usage_mode CHECK (mode IN ('live', 'test')),
    CONSTRAINT quota_usage_used CHECK (used >= 0)
) WITH (fillfactor = 70);

-- Which processes accept: each says so every second, and keeps its part of what is limited by the second.
CREATE TABLE accepting_processes (
    id      uuid        NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT accepting_processes_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50);
