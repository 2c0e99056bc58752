-- How lanes stand, in columns. What processes tell of their lanes is written again within seconds: nothing is carried over.
DROP TABLE lane_states;
CREATE TABLE lane_states (
    process_id        uuid             NOT NULL,
    lane_group        text             NOT NULL,
    source            text             NOT NULL,
    provider          text,
    phase             text             NOT NULL,
    paused_for_ms     bigint,
    sessions_in_use   integer          NOT NULL,
    sessions_idle     integer          NOT NULL,
    sessions_window   integer          NOT NULL,
    sessions_limit    integer          NOT NULL,
    waiting           integer          NOT NULL,
    message_rate      double precision, -- a second
    connection_rate   double precision, -- a second
    updated_at        timestamptz      NOT NULL,
    CONSTRAINT lane_states_pkey PRIMARY KEY (process_id, lane_group, source),
    CONSTRAINT lane_states_phase CHECK (phase IN ('open', 'slowed', 'shared', 'probing', 'paused'))
);

-- Result types of RFC 8460 section 4.3.
ALTER TABLE tls_reports ADD CONSTRAINT tls_reports_result CHECK (result IN (
    'successful', 'starttls-not-supported', 'certificate-host-mismatch', 'certificate-expired', 'certificate-not-trusted',
    'validation-failure', 'tlsa-invalid', 'dnssec-invalid', 'dane-required', 'sts-policy-fetch-error', 'sts-policy-invalid',
    'sts-webpki-invalid')) NOT VALID;
ALTER TABLE tls_reports VALIDATE CONSTRAINT tls_reports_result;
