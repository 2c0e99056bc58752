-- How mail fares: numbers of each hour by project, sending domain and receiver.
CREATE TABLE outcomes (
    hour          timestamptz NOT NULL,
    project_id    uuid        NOT NULL,
    -- The project's domain that the envelope sender, or the author, lies in.
    domain        text        NOT NULL,
    -- Who runs the receiving servers, as far as the rule pack knows.
    receiver      text        NOT NULL,
    accepted      bigint      NOT NULL DEFAULT 0,
    deferred      bigint      NOT NULL DEFAULT 0,
    rejected      bigint      NOT NULL DEFAULT 0,
    -- Of those rejected: the address takes no mail.
    bad_addresses bigint      NOT NULL DEFAULT 0,
    complaints    bigint      NOT NULL DEFAULT 0,
    CONSTRAINT outcomes_pkey PRIMARY KEY (project_id, hour, domain, receiver)
);
CREATE INDEX outcomes_by_hour ON outcomes (hour);

-- When a project's mail fares so badly that somebody must be told, and whether it is stopped then; NULL: the defaults.
ALTER TABLE projects
    ADD COLUMN alarm_bounce_percent double precision,
    ADD COLUMN alarm_complaint_percent double precision,
    ADD COLUMN alarm_pauses boolean NOT NULL DEFAULT false,
    ADD COLUMN alarmed_at timestamptz,
    ADD COLUMN alarm_reason text,
    -- Recipients and domains that its mail may go to; NULL: all.
    ADD COLUMN allowed_recipients text[];

-- Lists that name a sending domain, or an address that mail leaves from.
CREATE TABLE listings (
    subject    text        NOT NULL,
    list       text        NOT NULL,
    since      timestamptz NOT NULL,
    checked_at timestamptz NOT NULL,
    -- What the list answered.
    answers    jsonb       NOT NULL,
    CONSTRAINT listings_pkey PRIMARY KEY (subject, list)
);

-- When lists were asked about a domain.
ALTER TABLE domains ADD COLUMN lists_asked_at timestamptz;
