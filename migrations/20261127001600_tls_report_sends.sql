-- Which domains were told of a day's TLS sessions (RFC 8460), or had no wish to be.
CREATE TABLE tls_report_sends (
    day      date        NOT NULL,
    domain   text        NOT NULL,
    taken_at timestamptz NOT NULL,
    done_at  timestamptz,
    -- What became of it: sent, not_asked, refused, unknown.
    outcome  text,
    tries    integer     NOT NULL DEFAULT 1,
    -- The domains of the mailboxes that it went to: those sessions are in no report.
    sent_to  text[]      NOT NULL DEFAULT '{}',
    CONSTRAINT tls_report_sends_pkey PRIMARY KEY (day, domain)
);
