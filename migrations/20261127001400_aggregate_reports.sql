-- What receivers say of a day's mail of a domain, or of its TLS sessions.
CREATE TABLE aggregate_reports (
    id          uuid        NOT NULL,
    kind        text        NOT NULL,
    -- Whose the domain was when it came; NULL: the operator's host of reports.
    project_id  uuid,
    -- The domain that it is about, and the one of the project that covers it.
    domain      text        NOT NULL,
    covered_by  text        NOT NULL,
    reporter    text        NOT NULL,
    report_id   text        NOT NULL,
    -- The domain whose signature the letter had.
    signed_by   text        NOT NULL,
    begin_at    timestamptz NOT NULL,
    end_at      timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    total       bigint      NOT NULL,
    passed      bigint      NOT NULL,
    rows        jsonb       NOT NULL,
    CONSTRAINT aggregate_reports_pkey PRIMARY KEY (id),
    CONSTRAINT aggregate_reports_kind CHECK (kind IN ('dmarc', 'tls'))
);
-- What comes twice is kept once.
CREATE UNIQUE INDEX aggregate_reports_same ON aggregate_reports (domain, kind, md5(reporter || ' ' || report_id), signed_by);
CREATE INDEX aggregate_reports_by_domain ON aggregate_reports (covered_by, project_id, id);
CREATE INDEX aggregate_reports_by_time ON aggregate_reports (received_at);

ALTER TABLE reports VALIDATE CONSTRAINT reports_source;

-- What was found of domains before says nothing of reports: there were none that anybody read.
UPDATE domains SET dmarc = dmarc || '{"evidence": {"reports": 0, "reporters": 0, "messages": 0, "passed": 0, "days": 0},
    "advice": {"policy": "none", "because": "quarantine needs reports of at least 2 receivers; there are those of 0"}}'
WHERE dmarc IS NOT NULL;
