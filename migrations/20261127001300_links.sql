-- Links of ours in messages: to want no more of a kind of mail, and those that are counted.

-- The host of links in a domain's mail: what stands before the domain in its name, and whether it was seen.
ALTER TABLE domains
    ADD COLUMN link_label text NOT NULL DEFAULT 'links',
    ADD COLUMN has_link_host boolean NOT NULL DEFAULT false;

-- Reports also come by a link.
ALTER TABLE reports
    DROP CONSTRAINT reports_source,
    -- What is there keeps to it: it kept to the narrower one.
    ADD CONSTRAINT reports_source CHECK (source IN ('smtp', 'http', 'maildir', 'link')) NOT VALID;

-- What a request to send may say; unsubscribe and tracking are new.
CREATE OR REPLACE FUNCTION mailwright.fields(is_raw boolean) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT ARRAY['send_at', 'raw', 'per_recipient', 'from', 'to', 'cc', 'bcc', 'reply_to', 'subject', 'text', 'html',
        'alternatives', 'attachments', 'headers', 'message_id', 'return_path', 'otp', 'auto_replies', 'tags', 'metadata',
        'priority', 'expires_at', 'ttl_seconds', 'tls', 'ip_pool', 'sandbox', 'template', 'unsubscribe', 'tracking']
$$;

-- Faults of what asks for links of the recipient's own.
CREATE FUNCTION mailwright.link_faults(message jsonb, limits jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    faults jsonb := '[]';
    unsubscribe jsonb := mailwright.value(message, 'unsubscribe');
    tracking jsonb := mailwright.value(message, 'tracking');
    field text;
    recipients bigint;
BEGIN
    IF mailwright.value(message, 'raw') IS NOT NULL THEN
        SELECT COALESCE(jsonb_agg(mailwright.fault('/' || f, 'conflict',
            'the message in raw has its own; leave out ' || f || ' or raw') -> 0), '[]') INTO faults
        FROM unnest(ARRAY['unsubscribe', 'tracking']) AS f WHERE mailwright.value(message, f) IS NOT NULL;
        RETURN faults;
    END IF;
    IF jsonb_typeof(unsubscribe) <> 'object' THEN
        faults := faults || mailwright.wrong_type('/unsubscribe', 'an object', unsubscribe);
    ELSIF unsubscribe IS NOT NULL THEN
        faults := faults || mailwright.required_faults(unsubscribe, '/unsubscribe', 'stream',
                'must be given: what the recipient may want no more of')
            || mailwright.unknown_faults(unsubscribe, '/unsubscribe', ARRAY['stream']);
        IF jsonb_typeof(unsubscribe -> 'stream') = 'string' AND unsubscribe ->> 'stream' !~ '^[A-Za-z0-9_.-]{1,64}$' THEN
            faults := faults || mailwright.fault('/unsubscribe/stream', 'invalid_stream',
                'must have 1 to 64 letters, digits, ''-'', ''_'' and ''.''');
        END IF;
    END IF;
    IF jsonb_typeof(tracking) <> 'object' THEN
        faults := faults || mailwright.wrong_type('/tracking', 'an object', tracking);
    ELSIF tracking IS NOT NULL THEN
        FOREACH field IN ARRAY ARRAY['opens', 'clicks'] LOOP
            IF jsonb_typeof(mailwright.value(tracking, field)) <> 'boolean' THEN
                faults := faults || mailwright.wrong_type('/tracking/' || field, 'true or false', tracking -> field);
            END IF;
        END LOOP;
        faults := faults || mailwright.unknown_faults(tracking, '/tracking', ARRAY['opens', 'clicks']);
    END IF;
    IF faults = '[]' AND (unsubscribe IS NOT NULL OR tracking @> '{"opens": true}' OR tracking @> '{"clicks": true}') THEN
        SELECT count(DISTINCT lower(b.box ->> 'email')) INTO recipients
        FROM unnest(ARRAY['to', 'cc', 'bcc']) AS f (name),
            LATERAL mailwright.read_addresses(message, f.name, (limits ->> 'recipients')::integer) AS r,
            LATERAL jsonb_array_elements(r.boxes) AS b (box);
        field := CASE WHEN unsubscribe IS NOT NULL THEN 'unsubscribe' ELSE 'tracking' END;
        IF recipients > 1 THEN
            faults := faults || mailwright.fault('/' || field, 'conflict', 'its links are one recipient''s own, and it has '
                || recipients || ': say per_recipient, or send it to one');
        END IF;
        IF unsubscribe IS NOT NULL AND jsonb_typeof(message -> 'headers') = 'object' THEN
            SELECT faults || COALESCE(jsonb_agg(mailwright.fault('/headers/' || n.name, 'conflict',
                'unsubscribe writes it: leave out one of them') -> 0), '[]') INTO faults
            FROM unnest(ARRAY['List-Unsubscribe', 'List-Unsubscribe-Post']) AS n (name)
            WHERE EXISTS (SELECT FROM jsonb_each(message -> 'headers') AS h
                WHERE lower(h.key) = lower(n.name) AND jsonb_typeof(h.value) = 'string');
        END IF;
    END IF;
    RETURN faults;
END $$;

-- What is asked of the way, and these.
ALTER FUNCTION mailwright.option_faults(jsonb, jsonb) RENAME TO label_faults;
CREATE FUNCTION mailwright.option_faults(message jsonb, limits jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT mailwright.label_faults(message, limits) || mailwright.link_faults(message, limits)
$$;
REVOKE ALL ON FUNCTION mailwright.link_faults(jsonb, jsonb), mailwright.option_faults(jsonb, jsonb) FROM PUBLIC;

-- Processes of before know none of the new words in the log: message.opened, project.alarm and the like.
UPDATE schema_compatibility SET min_binary = 20261127001300;

-- Last, since all mail waits meanwhile. The kind of mail that a message is; NULL: none that could be unsubscribed from.
ALTER TABLE messages ADD COLUMN stream text;
-- What was learnt of a recipient later, when first, and how often it was told.
ALTER TABLE recipients
    ADD COLUMN opened_at timestamptz,
    ADD COLUMN clicked_at timestamptz,
    ADD COLUMN complained_at timestamptz,
    ADD COLUMN unsubscribed_at timestamptz,
    ADD COLUMN opens smallint NOT NULL DEFAULT 0,
    ADD COLUMN clicks smallint NOT NULL DEFAULT 0;
