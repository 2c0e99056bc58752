-- The whole schema as pg_dump writes it, without the partitions of days. Written by a test, which holds it equal to the
-- migrations: MAILWRIGHT_WRITE_SCHEMA=1 scripts/test docs_schema_sql
CREATE SCHEMA mailwright;
CREATE FUNCTION mailwright.alternative_faults(other jsonb, at text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
DECLARE
    faults jsonb := mailwright.required_faults(other, at, 'content_type', 'must be given')
        || mailwright.required_faults(other, at, 'content', 'must be given')
        || mailwright.unknown_faults(other, at, ARRAY['content_type', 'content']);
    media_type text := CASE jsonb_typeof(other -> 'content_type')
        WHEN 'string' THEN mailwright.trimmed(other ->> 'content_type') END;
    flaw text := mailwright.media_type_flaw(media_type);
BEGIN
    IF flaw IS NULL AND jsonb_typeof(other -> 'content') = 'string' THEN
        flaw := CASE
            WHEN media_type !~* '^text/' THEN
                'an alternative is text, such as text/calendar; method=REQUEST; other files are attachments'
            WHEN media_type ~* '^text/(plain|html) *(;|$)' THEN 'give text/plain in text and text/html in html'
            WHEN media_type ~* '; *charset=' AND media_type !~* '; *charset="?utf-8"? *(;|$)' THEN 'the charset is utf-8' END;
    END IF;
    IF flaw IS NOT NULL THEN
        faults := faults || mailwright.fault(at || '/content_type', 'invalid_content_type', flaw);
    END IF;
    RETURN faults;
END $_$;
CREATE FUNCTION mailwright.attachment_faults(file jsonb, at text, upload jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
DECLARE
    faults jsonb := '[]';
    is_upload boolean := mailwright.value(file, 'upload_id') IS NOT NULL;
    filename text := CASE jsonb_typeof(file -> 'filename') WHEN 'string' THEN file ->> 'filename' END;
    media_type text := CASE jsonb_typeof(file -> 'content_type') WHEN 'string' THEN file ->> 'content_type' END;
    content_id text := CASE jsonb_typeof(file -> 'content_id') WHEN 'string' THEN mailwright.trimmed(file ->> 'content_id') END;
    decoded record;
    flaw text;
BEGIN
    IF is_upload THEN
        faults := mailwright.text_faults(file, at, 'filename') || mailwright.text_faults(file, at, 'upload_id');
        IF upload IS NULL AND jsonb_typeof(file -> 'upload_id') = 'string' THEN
            faults := faults || mailwright.fault(at || '/upload_id', 'unknown_upload',
                'there is no upload with this id, or no longer');
        END IF;
        IF mailwright.value(file, 'content') IS NOT NULL THEN
            faults := faults || mailwright.fault(at || '/content', 'conflict', 'give content or upload_id, not both');
        END IF;
    ELSE
        faults := mailwright.required_faults(file, at, 'filename', 'must be given')
            || mailwright.required_faults(file, at, 'content', 'must be given, in base64; or upload_id');
        IF jsonb_typeof(file -> 'content') = 'string' THEN
            SELECT * INTO decoded FROM mailwright.read_base64(file ->> 'content');
            IF decoded.flaw IS NOT NULL THEN
                faults := faults || mailwright.fault(at || '/content', 'invalid_base64', decoded.flaw);
            ELSIF COALESCE(media_type, decoded.media_type) ~* '^\s*message/' THEN
                flaw := CASE WHEN position('\x00'::bytea IN decoded.content) > 0 THEN 'a NUL'
                    ELSE mailwright.wire_flaw(convert_to(regexp_replace(convert_from(decoded.content, 'LATIN1'),
                        E'\r\n|\r|\n', E'\r\n', 'g'), 'LATIN1')) END;
                IF flaw IS NOT NULL THEN
                    faults := faults || mailwright.fault(at || '/content', 'invalid_message', 'has ' || flaw || ': a part of '
                        'type message/… has no transfer encoding (RFC 2046 §5.2.1); send it as application/octet-stream');
                END IF;
            END IF;
        END IF;
    END IF;
    IF filename = '' OR octet_length(filename) > 255 THEN
        faults := faults || mailwright.fault(at || '/filename', 'invalid_filename', 'must have 1 to 255 bytes');
    ELSE
        faults := faults || COALESCE(mailwright.control_faults(at || '/filename', filename), '[]');
    END IF;
    faults := faults || mailwright.text_faults(file, at, 'content_type') || mailwright.text_faults(file, at, 'content_id')
        || mailwright.text_faults(file, at, 'disposition');
    IF mailwright.media_type_flaw(media_type) IS NOT NULL THEN
        faults := faults || mailwright.fault(at || '/content_type', 'invalid_content_type',
            mailwright.media_type_flaw(media_type));
    END IF;
    content_id := regexp_replace(regexp_replace(content_id, '^<(.*)>$', '\1'), '^cid:', '', 'i');
    IF content_id !~ '^[A-Za-z0-9!#$%&''*+/=?^_`{|}~.@-]{1,128}$' THEN
        faults := faults || mailwright.fault(at || '/content_id', 'invalid_content_id',
            'must have 1 to 128 bytes of letters, digits and any of !#$%&''*+/=?^_`{|}~.@-');
    END IF;
    IF jsonb_typeof(file -> 'disposition') = 'string' AND file ->> 'disposition' NOT IN ('attachment', 'inline') THEN
        faults := faults || mailwright.fault(at || '/disposition', 'invalid_disposition', 'must be attachment or inline');
    END IF;
    RETURN faults || mailwright.unknown_faults(file, at,
        ARRAY['upload_id', 'filename', 'content', 'content_type', 'content_id', 'disposition']);
END $_$;
CREATE FUNCTION mailwright.canonical(given jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
BEGIN
    RETURN CASE jsonb_typeof(given)
        WHEN 'object' THEN (
            SELECT '{' || COALESCE(string_agg(to_json(e.key)::text || ':' || mailwright.canonical(e.value), ','
                ORDER BY e.key COLLATE "C"), '') || '}' FROM jsonb_each(given) AS e)
        WHEN 'array' THEN (
            SELECT '[' || COALESCE(string_agg(mailwright.canonical(i.item), ',' ORDER BY i.n), '') || ']'
            FROM jsonb_array_elements(given) WITH ORDINALITY AS i (item, n))
        ELSE given::text END;
END $$;
CREATE FUNCTION mailwright.content_faults(message jsonb, uploads jsonb, limits jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
DECLARE
    faults jsonb := mailwright.required_faults(message, '', 'subject', 'must be given; it may be empty')
        || mailwright.text_faults(message, '', 'text') || mailwright.text_faults(message, '', 'html')
        || mailwright.text_faults(message, '', 'message_id') || mailwright.text_faults(message, '', 'auto_replies')
        || mailwright.header_faults(message, (limits ->> 'headers')::integer);
    subject text := CASE jsonb_typeof(message -> 'subject') WHEN 'string' THEN message ->> 'subject' END;
    own_id text := CASE jsonb_typeof(message -> 'message_id') WHEN 'string' THEN mailwright.trimmed(message ->> 'message_id') END;
    otp jsonb := mailwright.value(message, 'otp');
    read record;
    item record;
BEGIN
    IF length(subject) > 998 THEN
        faults := faults || mailwright.fault('/subject', 'too_long', 'must have at most 998 characters');
    ELSE
        faults := faults || COALESCE(mailwright.control_faults('/subject', subject), '[]');
    END IF;
    IF mailwright.value(message, 'text') IS NULL AND mailwright.value(message, 'html') IS NULL THEN
        faults := faults || mailwright.fault('/text', 'required', 'one of text and html must be given');
    END IF;
    SELECT * INTO read FROM mailwright.read_addresses(message, 'reply_to', 50);
    faults := faults || read.faults;
    SELECT * INTO read FROM mailwright.read_objects(message, 'alternatives', 10);
    faults := faults || read.faults;
    FOR item IN SELECT i.item, '/alternatives/' || i.n - 1 AS at FROM jsonb_array_elements(read.items) WITH ORDINALITY AS i (item, n)
        WHERE jsonb_typeof(i.item) = 'object'
    LOOP
        faults := faults || mailwright.alternative_faults(item.item, item.at);
    END LOOP;
    SELECT * INTO read FROM mailwright.read_objects(message, 'attachments', (limits ->> 'attachments')::integer);
    faults := faults || read.faults;
    FOR item IN SELECT i.item, '/attachments/' || i.n - 1 AS at FROM jsonb_array_elements(read.items) WITH ORDINALITY AS i (item, n)
        WHERE jsonb_typeof(i.item) = 'object'
    LOOP
        faults := faults || mailwright.attachment_faults(item.item, item.at, uploads -> (item.item ->> 'upload_id'));
    END LOOP;
    own_id := regexp_replace(own_id, '^<(.*)>$', '\1');
    IF length(own_id) > 250 OR own_id
        !~ '^[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+)*@[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+)*$'
    THEN
        faults := faults || mailwright.fault('/message_id', 'invalid_message_id',
            'must be an id such as order-17@example.com in ASCII, at most 250 bytes (RFC 5322 §3.6.4)');
    END IF;
    IF jsonb_typeof(message -> 'auto_replies') = 'string' AND message ->> 'auto_replies' NOT IN ('allow', 'suppress') THEN
        faults := faults || mailwright.fault('/auto_replies', 'invalid_auto_replies', 'must be allow or suppress');
    END IF;
    IF jsonb_typeof(otp) <> 'object' THEN
        faults := faults || mailwright.wrong_type('/otp', 'an object', otp);
    ELSIF otp IS NOT NULL THEN
        faults := faults || mailwright.required_faults(otp, '/otp', 'code', 'must be given')
            || mailwright.required_faults(otp, '/otp', 'origin', 'must be given')
            || mailwright.unknown_faults(otp, '/otp', ARRAY['code', 'origin']);
        IF jsonb_typeof(otp -> 'code') = 'string' AND otp ->> 'code' !~ '^[!-~]{1,64}$' THEN
            faults := faults || mailwright.fault('/otp/code', 'invalid_otp', 'must have 1 to 64 visible ASCII characters');
        END IF;
        IF jsonb_typeof(otp -> 'origin') = 'string' AND NOT mailwright.is_origin(otp ->> 'origin') THEN
            faults := faults || mailwright.fault('/otp/origin', 'invalid_otp', 'must be an origin such as '
                'https://example.com, without a path; http:// only for localhost');
        END IF;
    END IF;
    RETURN faults;
END $_$;
CREATE FUNCTION mailwright.control_faults(pointer text, given text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN mailwright.has_control(given) THEN mailwright.fault(pointer, 'control_character',
        'must not hold a line break, a NUL or another control character') ELSE '[]' END
$$;
CREATE FUNCTION mailwright.edits(a text, b text) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    before integer[];
    last integer[] := ARRAY(SELECT generate_series(0, length(b)));
    line integer[];
    least integer;
BEGIN
    FOR i IN 1 .. length(a) LOOP
        line := ARRAY[i];
        FOR j IN 1 .. length(b) LOOP
            least := LEAST(last[j] + (substr(a, i, 1) <> substr(b, j, 1))::integer, last[j + 1] + 1, line[j] + 1);
            IF i > 1 AND j > 1 AND substr(a, i, 1) = substr(b, j - 1, 1) AND substr(a, i - 1, 1) = substr(b, j, 1) THEN
                least := LEAST(least, before[j - 1] + 1);
            END IF;
            line := line || least;
        END LOOP;
        before := last;
        last := line;
    END LOOP;
    RETURN last[length(b) + 1];
END $$;
CREATE FUNCTION mailwright.enqueue(message jsonb, project text DEFAULT NULL::text, mode text DEFAULT 'live'::text, idempotency_key text DEFAULT NULL::text, send_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    SET "DateStyle" TO 'ISO, YMD'
    SET "TimeZone" TO 'UTC'
    AS $_$
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    sender record;
    read record;
    times record;
    template record;
    limits CONSTANT jsonb := mailwright.limits();
    faults jsonb := '[]';
    recipients jsonb := '[]';
    request jsonb := message;
    uploads jsonb;
    author jsonb;
    own_key text := idempotency_key;
    own_id text;
    fingerprint bytea;
    shard_index integer;
    id uuid;
    made text;
    field text;
BEGIN
    SELECT * INTO sender FROM mailwright.sender(project, mode);
    IF message IS NULL OR jsonb_typeof(message) <> 'object' THEN
        RAISE EXCEPTION 'the message must be a JSON object' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- The key and the time may stand in the message too; the fingerprint is of everything but the key.
    IF mailwright.value(message, 'idempotency_key') IS NOT NULL THEN
        faults := mailwright.text_faults(message, '', 'idempotency_key');
        IF own_key IS NOT NULL THEN
            faults := mailwright.fault('/idempotency_key', 'conflict', 'the argument idempotency_key is given too; give one of them');
        ELSIF faults = '[]' THEN
            own_key := message ->> 'idempotency_key';
        END IF;
    END IF;
    IF own_key !~ '^[!-~]{1,255}$' THEN
        faults := faults || mailwright.fault('/idempotency_key', 'invalid_idempotency_key',
            'must be 1 to 255 visible ASCII characters');
        own_key := NULL;
    END IF;
    request := request - 'idempotency_key';
    IF send_at IS NOT NULL THEN
        IF mailwright.value(request, 'send_at') IS NOT NULL THEN
            faults := faults || mailwright.fault('/send_at', 'conflict', 'the argument send_at is given too; give one of them');
        ELSIF isfinite(send_at) THEN
            request := request || jsonb_build_object('send_at', to_char(send_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
        ELSE
            faults := faults || mailwright.fault('/send_at', 'invalid_time', 'must be an instant');
        END IF;
    END IF;
    IF own_key IS NOT NULL THEN
        own_key := mode || ':' || own_key;
        fingerprint := sha256(convert_to(mailwright.canonical(request), 'UTF8'));
        made := mailwright.replayed(sender.project_id, own_key, fingerprint);
        IF made IS NOT NULL THEN
            RETURN made;
        END IF;
    END IF;
    -- Everything that is wrong with it.
    IF octet_length(request::text) > 41943040 THEN
        RAISE EXCEPTION 'the message has % bytes; the limit is 41943040', octet_length(request::text)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO times FROM mailwright.read_times(request, now);
    faults := faults || times.faults;
    IF mailwright.value(request, 'from') IS NULL THEN
        faults := faults || mailwright.fault('/from', 'required', 'must be given');
    ELSE
        SELECT * INTO read FROM mailwright.read_address(request -> 'from', '/from');
        faults := faults || read.faults;
        IF read.faults = '[]' THEN
            author := jsonb_build_object('email', read.email, 'name', read.name);
        END IF;
    END IF;
    made := '';
    FOREACH field IN ARRAY ARRAY['to', 'cc', 'bcc'] LOOP
        SELECT * INTO read FROM mailwright.read_addresses(request, field, (limits ->> 'recipients')::integer);
        recipients := recipients || read.boxes;
        faults := faults || read.faults;
        made := made || (read.faults <> '[]')::text;
    END LOOP;
    IF jsonb_array_length(recipients) = 0 AND strpos(made, 'true') = 0 THEN
        faults := faults || mailwright.fault('/to', 'required', 'at least one of to, cc and bcc must name a recipient');
    ELSIF jsonb_array_length(recipients) > (limits ->> 'recipients')::integer THEN
        faults := faults || mailwright.fault('/to', 'too_many_recipients',
            jsonb_array_length(recipients) || ' recipients; the limit is ' || (limits ->> 'recipients'));
    END IF;
    IF mailwright.value(request, 'per_recipient') IS NOT NULL THEN
        faults := faults || mailwright.fault('/per_recipient', 'conflict',
            'enqueue makes one message: call it once for each recipient');
    END IF;
    faults := faults || mailwright.text_faults(request, '', 'return_path');
    IF jsonb_typeof(request -> 'return_path') = 'string' AND author IS NOT NULL THEN
        IF mailwright.mailbox_flaw(request ->> 'return_path') IS NOT NULL THEN
            faults := faults || mailwright.fault('/return_path', 'invalid_address',
                mailwright.mailbox_flaw(request ->> 'return_path'));
        ELSIF right('.' || lower(substring(request ->> 'return_path' FROM '@([^@]*)$')),
            length(substring(author ->> 'email' FROM '@([^@]*)$')) + 1)
            <> '.' || substring(author ->> 'email' FROM '@([^@]*)$') THEN
            faults := faults || mailwright.fault('/return_path', 'forbidden_address', 'must be an address at '
                || substring(author ->> 'email' FROM '@([^@]*)$')
                || ' or at a subdomain of it, as the domain of ''from'' is');
        END IF;
    END IF;
    faults := faults || mailwright.option_faults(request, limits);
    uploads := mailwright.uploads_of(request, sender.project_id, mode);
    SELECT * INTO template FROM mailwright.read_template(request, sender.project_id, mode);
    IF template.label IS NOT NULL AND template.faults = '[]' THEN
        faults := faults || mailwright.content_faults(
            CASE WHEN mailwright.value(request, 'subject') IS NULL THEN request || '{"subject": ""}' ELSE request END
            || '{"text": ""}', uploads, limits);
        request := jsonb_set(request, '{template,version}', to_jsonb(template.version));
    ELSIF mailwright.value(request, 'raw') IS NOT NULL THEN
        faults := faults || mailwright.raw_faults(request, author ->> 'email');
    ELSE
        faults := faults || mailwright.content_faults(request, uploads, limits);
    END IF;
    faults := faults || mailwright.unknown_faults(request, '', mailwright.fields(mailwright.value(request, 'raw') IS NOT NULL));
    IF template.faults <> '[]' THEN
        -- As over HTTP: without its content there is nothing else to judge.
        faults := template.faults;
    END IF;
    IF faults = '[]' THEN
        SELECT p.recipients_per_message AS most, count(*) AS n INTO read
        FROM public.projects AS p, (SELECT DISTINCT lower(r ->> 'email') FROM jsonb_array_elements(recipients) AS r) AS boxes
        WHERE p.id = sender.project_id GROUP BY p.id;
        IF read.n > read.most THEN
            faults := mailwright.fault('/to', 'too_many_recipients',
                read.n || ' recipients; the project''s limit is ' || read.most);
        END IF;
        request := mailwright.with_uploads(request, uploads);
        SELECT * INTO read FROM mailwright.weight(request);
        IF read.bytes > (limits ->> 'message')::bigint THEN
            faults := faults || mailwright.fault(read.heaviest, 'message_too_large',
                'the composed message has at least ' || read.bytes || ' bytes; the limit is ' || (limits ->> 'message'));
        END IF;
    END IF;
    IF faults <> '[]' THEN
        RAISE EXCEPTION 'the message has % fault(s), first %: %', jsonb_array_length(faults),
            faults -> 0 ->> 'pointer', faults -> 0 ->> 'detail'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = (
                SELECT string_agg(regexp_replace(format('%s: %s [%s]', f ->> 'pointer', f ->> 'detail', f ->> 'code'),
                    '[\u0001-\u001f]', '?', 'g'), E'\n') FROM jsonb_array_elements(faults) AS f),
            HINT = 'See the schema SendRequest of openapi.yaml.';
    END IF;
    IF sender.from_domains IS NOT NULL AND mailwright.value(request, 'domain_pool') IS NOT NULL THEN
        RAISE EXCEPTION 'the role % may send from some domains alone: leave out domain_pool', quote_ident(session_user)
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT substring(author ->> 'email' FROM '@([^@]*)$') = ANY (sender.from_domains) THEN
        RAISE EXCEPTION 'the role % may not send as %', quote_ident(session_user), substring(author ->> 'email' FROM '@([^@]*)$')
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- As the API would have put it into the schedule.
    times.send_at := GREATEST(times.send_at, date_trunc('milliseconds', now));
    shard_index := CASE WHEN own_key IS NULL THEN (floor(extract(epoch FROM now) * 20)::bigint % 64)::integer
        ELSE mailwright.shard_of_key(sender.project_id, own_key) END;
    id := mailwright.new_id(times.send_at, shard_index);
    IF own_key IS NOT NULL THEN
        -- Waits for a transaction that has the same key in hand.
        INSERT INTO public.idempotency_keys AS k (shard, project_id, key, fingerprint, message_ids, expires_at)
        VALUES (mailwright.shard(shard_index), sender.project_id, own_key, fingerprint, ARRAY[id],
            times.send_at + make_interval(hours => 24))
        ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE
            SET fingerprint = excluded.fingerprint, message_ids = excluded.message_ids, expires_at = excluded.expires_at
            WHERE k.expires_at <= clock_timestamp();
        IF NOT FOUND THEN
            RETURN mailwright.replayed(sender.project_id, own_key, fingerprint);
        END IF;
    END IF;
    own_id := regexp_replace(mailwright.trimmed(request ->> 'message_id'), '^<(.*)>$', '\1');
    INSERT INTO public.scheduled_messages (shard, id, project_id, mode, send_at, request, tags, created_at, summary, expires_at,
        idempotency_key, template, charged)
    VALUES (mailwright.shard(shard_index), id, sender.project_id, mode, times.send_at,
        convert_to((request - ARRAY['send_at', 'expires_at', 'ttl_seconds'])::text, 'UTF8'),
        COALESCE(mailwright.value(request, 'tags'), '[]'), date_trunc('milliseconds', now),
        jsonb_build_object('author', mailwright.shown(author), 'subject', COALESCE(request ->> 'subject', ''),
            'message_id', own_id, 'size', read.bytes,
            'priority', CASE request ->> 'priority' WHEN 'high' THEN 0 WHEN 'low' THEN 2 ELSE 1 END,
            'metadata', jsonb_strip_nulls(COALESCE(mailwright.value(request, 'metadata'), '{}')),
            'recipients', mailwright.recipients(recipients, times.send_at, shard_index)),
        times.expires_at, substr(own_key, length(mode) + 2), template.label, false);
    RETURN mailwright.written('msg', id);
END $_$;
COMMENT ON FUNCTION mailwright.enqueue(message jsonb, project text, mode text, idempotency_key text, send_at timestamp with time zone) IS 'Sends a message if and when the transaction commits. The message is a SendRequest of openapi.yaml; gives its id. See docs/outbox.md.';
CREATE FUNCTION mailwright.fault(pointer text, code text, detail text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT jsonb_build_array(jsonb_build_object('pointer', pointer, 'code', code, 'detail', detail))
$$;
CREATE FUNCTION mailwright.fields(is_raw boolean) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT ARRAY['send_at', 'raw', 'per_recipient', 'from', 'to', 'cc', 'bcc', 'reply_to', 'subject', 'text', 'html',
        'alternatives', 'attachments', 'headers', 'message_id', 'return_path', 'otp', 'auto_replies', 'tags', 'metadata',
        'priority', 'expires_at', 'ttl_seconds', 'tls', 'ip_pool', 'sandbox', 'template', 'unsubscribe', 'tracking',
        'domain_pool']
$$;
CREATE FUNCTION mailwright.grant_to(role_name text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA mailwright TO %I', role_name);
    EXECUTE format('GRANT EXECUTE ON FUNCTION mailwright.enqueue(jsonb, text, text, text, timestamptz) TO %I', role_name);
    RETURN true;
END $$;
CREATE FUNCTION mailwright.has_control(given text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT given ~ '[\u0001-\u001f\u007f-\u009f]'
$$;
CREATE FUNCTION mailwright.header_faults(message jsonb, most integer) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
DECLARE
    given jsonb := mailwright.value(message, 'headers');
    faults jsonb := '[]';
    seen jsonb := '{}';
    at text;
    item record;
BEGIN
    IF given IS NULL THEN
        RETURN '[]';
    ELSIF jsonb_typeof(given) <> 'object' THEN
        RETURN mailwright.wrong_type('/headers', 'an object', given);
    ELSIF (SELECT count(*) FROM jsonb_object_keys(given)) > most THEN
        RETURN mailwright.fault('/headers', 'too_many',
            (SELECT count(*) FROM jsonb_object_keys(given)) || '; the limit is ' || most);
    END IF;
    FOR item IN SELECT h.key AS name, h.value, lower(h.key COLLATE "C") AS folded
        FROM jsonb_each(given) AS h WHERE h.value <> 'null' ORDER BY h.key COLLATE "C"
    LOOP
        at := mailwright.pointer('/headers', item.name);
        IF jsonb_typeof(item.value) <> 'string' THEN
            faults := faults || mailwright.wrong_type(at, 'a string', item.value);
        ELSIF item.name !~ '^[!-9;-~]{1,76}$' THEN
            faults := faults || mailwright.fault(at, 'invalid_header',
                'a header name has 1 to 76 visible ASCII characters and no colon (RFC 5322)');
        ELSIF item.folded IN ('from', 'to', 'cc', 'bcc', 'subject', 'reply-to', 'message-id', 'otp-token') THEN
            faults := faults || mailwright.fault(at, 'reserved_header', '''' || item.name
                || ''' is written by the field ''' || CASE item.folded WHEN 'otp-token' THEN 'otp'
                ELSE replace(item.folded, '-', '_') END || ''' of the request');
        ELSIF item.folded IN ('sender', 'date', 'mime-version', 'received', 'return-path', 'dkim-signature',
            'authentication-results', 'delivered-to', 'errors-to', 'x-original-to', 'apparently-to')
            OR item.folded ~ '^(content-|arc-|resent-|x-mailwright-)' THEN
            faults := faults || mailwright.fault(at, 'reserved_header',
                '''' || item.name || ''' is written by the service');
        ELSIF octet_length(item.value #>> '{}') > 998 THEN
            faults := faults || mailwright.fault(at, 'too_long', 'must have at most 998 bytes');
        ELSIF mailwright.has_control(item.value #>> '{}') THEN
            faults := faults || mailwright.control_faults(at, item.value #>> '{}');
        ELSIF seen ? item.folded THEN
            faults := faults || mailwright.fault(at, 'invalid_header',
                'the header is given twice, here and as ''' || (seen ->> item.folded) || '''');
        ELSE
            seen := seen || jsonb_build_object(item.folded, item.name);
        END IF;
    END LOOP;
    RETURN faults;
END $_$;
CREATE FUNCTION mailwright.is_domain(given text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $_$
    SELECT octet_length(given) <= 1000
        AND (octet_length(given) <= 253 OR octet_length(given) > length(given))
        AND translate(given, U&'\3002\FF0E\FF61', '...')
            ~ '^([a-zA-Z0-9\u0080-\U0010ffff]([a-zA-Z0-9\u0080-\U0010ffff-]{0,61}[a-zA-Z0-9\u0080-\U0010ffff])?\.)+[a-zA-Z0-9\u0080-\U0010ffff]([a-zA-Z0-9\u0080-\U0010ffff-]{0,61}[a-zA-Z0-9\u0080-\U0010ffff])?$'
        AND given !~ '(^|\.)[0-9]+$'
        AND given !~ '[\u2000-\u200a\u2028-\u202f\u205f\u3000\u00a0]'
$_$;
CREATE FUNCTION mailwright.is_origin(given text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $_$
    SELECT octet_length(given) <= 255
        AND (given ~ '^https?://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?$'
            OR (given ~ '^https://' AND mailwright.is_domain(substring(given FROM '^https://([^:]*)(?::[0-9]{1,5})?$'))))
        AND COALESCE(substring(given FROM ':([0-9]{1,5})$')::integer, 1) BETWEEN 1 AND 65535
$_$;
CREATE FUNCTION mailwright.label_faults(message jsonb, limits jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    faults jsonb := mailwright.text_faults(message, '', 'priority') || mailwright.text_faults(message, '', 'tls')
        || mailwright.text_faults(message, '', 'ip_pool');
    tags jsonb := mailwright.value(message, 'tags');
    metadata jsonb := mailwright.value(message, 'metadata');
    bytes bigint;
    item record;
BEGIN
    IF jsonb_typeof(tags) <> 'array' THEN
        faults := faults || mailwright.wrong_type('/tags', 'a list', tags);
    ELSIF jsonb_array_length(tags) > (limits ->> 'tags')::integer THEN
        faults := faults || mailwright.fault('/tags', 'too_many', jsonb_array_length(tags) || '; the limit is ' || (limits ->> 'tags'));
    ELSIF tags IS NOT NULL THEN
        FOR item IN SELECT t.tag, '/tags/' || t.n - 1 AS at FROM jsonb_array_elements(tags) WITH ORDINALITY AS t (tag, n) LOOP
            IF jsonb_typeof(item.tag) <> 'string' THEN
                faults := faults || mailwright.wrong_type(item.at, 'a string', item.tag);
            ELSIF length(item.tag #>> '{}') NOT BETWEEN 1 AND 64 OR mailwright.has_control(item.tag #>> '{}') THEN
                faults := faults || mailwright.fault(item.at, 'invalid_tag',
                    'must have 1 to 64 characters, none of them a control character');
            END IF;
        END LOOP;
    END IF;
    IF jsonb_typeof(metadata) <> 'object' THEN
        faults := faults || mailwright.wrong_type('/metadata', 'an object', metadata);
    ELSIF metadata IS NOT NULL THEN
        FOR item IN SELECT m.key, m.value FROM jsonb_each(metadata) AS m
            WHERE jsonb_typeof(m.value) NOT IN ('string', 'null') LIMIT 100
        LOOP
            faults := faults
                || mailwright.wrong_type(mailwright.pointer('/metadata', item.key), 'a string', item.value);
        END LOOP;
        SELECT sum(octet_length(m.key) + octet_length(m.value #>> '{}')) INTO bytes
        FROM jsonb_each(metadata) AS m WHERE jsonb_typeof(m.value) = 'string';
        IF bytes > (limits ->> 'metadata')::bigint THEN
            faults := faults || mailwright.fault('/metadata', 'too_long', bytes || ' bytes; the limit is ' || (limits ->> 'metadata'));
        END IF;
    END IF;
    IF jsonb_typeof(message -> 'priority') = 'string' AND message ->> 'priority' NOT IN ('high', 'normal', 'low') THEN
        faults := faults || mailwright.fault('/priority', 'invalid_priority', 'must be one of high, normal, low');
    END IF;
    IF jsonb_typeof(message -> 'tls') = 'string' AND message ->> 'tls' NOT IN ('opportunistic', 'required', 'requiretls') THEN
        faults := faults || mailwright.fault('/tls', 'invalid_tls', 'must be one of opportunistic, required, requiretls');
    END IF;
    RETURN faults;
END $$;
CREATE FUNCTION mailwright.limits() RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
    SELECT '{"recipients": 1000, "message": 26214400, "attachments": 100, "tags": 10, "metadata": 10240, "headers": 50}'
        || COALESCE(jsonb_object_agg(l.name, l.most), '{}') FROM public.outbox_limits AS l
$$;
CREATE FUNCTION mailwright.link_faults(message jsonb, limits jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
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
END $_$;
CREATE FUNCTION mailwright.mailbox_flaw(given text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
DECLARE
    domain text := substring(given FROM '@([^@]*)$');
    local text := left(given, length(given) - length(domain) - 1);
BEGIN
    IF mailwright.has_control(given) THEN
        RETURN 'has a control character, a line break or a NUL';
    ELSIF domain IS NULL THEN
        RETURN 'has no ''@'' between a local part and a domain';
    ELSIF local !~ '^[A-Za-z0-9!#$%&''*+/=?^_`{|}~\u0080-\U0010ffff-]+(\.[A-Za-z0-9!#$%&''*+/=?^_`{|}~\u0080-\U0010ffff-]+)*$'
        AND local !~ '^"([^\u0001-\u001f"\\\u007f]|\\[\u0020-\u007e])*"$' THEN
        RETURN 'has an empty or malformed local part (RFC 5321 §4.1.2)';
    ELSIF NOT mailwright.is_domain(domain) THEN
        RETURN 'has a malformed domain: it must have at least two labels of letters, digits and hyphens';
    ELSIF octet_length(local) > 64 OR (octet_length(given) > 254 AND octet_length(domain) = length(domain)) THEN
        RETURN 'is longer than RFC 5321 §4.5.3.1 allows (64 octets of local part, 254 in all)';
    END IF;
    RETURN NULL;
END $_$;
CREATE FUNCTION mailwright.media_type_flaw(given text) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $_$
    SELECT CASE
        WHEN octet_length(mailwright.trimmed(given)) > 255 THEN 'is longer than 255 bytes'
        WHEN mailwright.trimmed(given) !~ '^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(; *[A-Za-z0-9!#$&^_.+-]+=([A-Za-z0-9!#$&^_.+-]+|"[ !#-\[\]-~]*") *)*$'
            THEN 'is not a media type such as image/png or text/csv; charset=utf-8 (RFC 2045): a type, a slash, a subtype, '
                'and parameters with a value each'
        WHEN mailwright.trimmed(given) ~* '^multipart/' THEN 'a file is one part: a multipart has parts of its own'
        WHEN mailwright.trimmed(given) ~* '^message/(partial|external-body) *(;|$)'
            THEN 'is only a part of a message, or a pointer to one; send the message whole' END
$_$;
CREATE FUNCTION mailwright.new_id(at timestamp with time zone, shard_index integer) RETURNS uuid
    LANGUAGE plpgsql
    AS $$
DECLARE
    id bytea := overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6);
BEGIN
    id := set_byte(id, 6, (get_byte(id, 6) & 15) | 112);
    id := set_byte(id, 15, (get_byte(id, 15) & 192) | shard_index);
    RETURN encode(id, 'hex')::uuid;
END $$;
CREATE FUNCTION mailwright.option_faults(message jsonb, limits jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT mailwright.label_faults(message, limits) || mailwright.link_faults(message, limits) || mailwright.pool_faults(message)
$$;
CREATE FUNCTION mailwright.pointer(at text, name text) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT at || '/' || replace(replace(name, '~', '~0'), '/', '~1')
$$;
CREATE FUNCTION mailwright.pool_faults(message jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
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
END $_$;
CREATE FUNCTION mailwright.raw_faults(message jsonb, author text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    faults jsonb;
    decoded record;
    header text;
    flaw text;
BEGIN
    SELECT COALESCE(jsonb_agg(mailwright.fault('/' || f, 'conflict',
        'the message in raw has its own; leave out ' || f || ' or raw') -> 0), '[]') INTO faults
    FROM unnest(ARRAY['subject', 'text', 'html', 'template', 'attachments', 'alternatives', 'headers', 'reply_to',
        'message_id', 'otp', 'auto_replies']) AS f
    WHERE mailwright.value(message, f) IS NOT NULL;
    IF jsonb_typeof(message -> 'raw') <> 'string' THEN
        RETURN faults || mailwright.text_faults(message, '', 'raw');
    END IF;
    SELECT * INTO decoded FROM mailwright.read_base64(message ->> 'raw');
    IF decoded.flaw IS NOT NULL THEN
        RETURN faults || mailwright.fault('/raw', 'invalid_base64', decoded.flaw);
    END IF;
    IF position('\x00'::bytea IN decoded.content) > 0 THEN
        RETURN faults || mailwright.fault('/raw', 'invalid_message', 'the message has a NUL');
    ELSIF length(decoded.content) = 0 THEN
        RETURN faults || mailwright.fault('/raw', 'invalid_message',
            'the message has no From field with an address (RFC 5322 §3.6.2)');
    END IF;
    header := convert_from(decoded.content, 'LATIN1');
    -- The fields, each in a line of its own.
    header := regexp_replace(split_part(replace(header, E'\r\n', E'\n'), E'\n\n', 1), E'\n[ \t]+', ' ', 'g');
    flaw := CASE
        WHEN header !~* '(^|\n)from[ \t]*:[^\n]*@' THEN
            'the message has no From field with an address (RFC 5322 §3.6.2)'
        WHEN regexp_count(header, '(^|\n)date[ \t]*:', 1, 'i') <> 1 THEN
            'the message has ' || regexp_count(header, '(^|\n)date[ \t]*:', 1, 'i')
            || ' Date fields; it must have one (RFC 5322 §3.6.1)'
        WHEN header ~* '(^|\n)bcc[ \t]*:[^\n]*@' THEN
            'the message has a Bcc field, which every recipient would read: leave it out'
        WHEN mailwright.wire_flaw(decoded.content) IS NOT NULL THEN
            'the message has ' || mailwright.wire_flaw(decoded.content) END;
    IF flaw IS NOT NULL THEN
        faults := faults || mailwright.fault('/raw', 'invalid_message', flaw);
    ELSIF strpos(lower(substring(header FROM '(?i)(?:^|\n)from[ \t]*:([^\n]*)')), lower(author)) = 0 THEN
        faults := faults || mailwright.fault('/raw', 'conflict', 'the message is from somebody else; from says ' || author);
    END IF;
    RETURN faults;
END $$;
CREATE FUNCTION mailwright.read_address(given jsonb, at text, OUT email text, OUT name text, OUT faults jsonb) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
DECLARE
    whole text;
    flaw text;
BEGIN
    faults := '[]';
    CASE jsonb_typeof(given)
    WHEN 'string' THEN
        whole := given #>> '{}';
        IF mailwright.has_control(whole) THEN
            flaw := 'has a control character, a line break or a NUL';
        ELSE
            whole := mailwright.trimmed(whole);
            email := whole;
            IF right(whole, 1) = '>' THEN
                email := substring(whole FROM '<([^<]*)>$');
                name := mailwright.trimmed(substring(whole FROM '^(.*)<[^<]*>$'));
                IF email IS NULL OR (left(name, 1) = '"' AND name !~ '^"([^"\\]|\\.)*"$')
                    OR (left(name, 1) <> '"' AND substring(name FROM '[,;:@<>"]') IN ('<', '>', '"')) THEN
                    flaw := 'is not of the form a@b.c or Name <a@b.c>';
                ELSIF left(name, 1) <> '"' AND name ~ '[,;:@]' THEN
                    flaw := 'has a display name with ''' || substring(name FROM '[,;:@]') || ''': write it in quotes, as '
                        '"Lee, Ann" <a@b.c>, or give several addresses as a list';
                ELSIF left(name, 1) = '"' THEN
                    name := regexp_replace(substr(name, 2, length(name) - 2), '\\(.)', '\1', 'g');
                END IF;
            END IF;
        END IF;
    WHEN 'object' THEN
        faults := mailwright.text_faults(given, at, 'name') || mailwright.text_faults(given, at, 'email')
            || mailwright.unknown_faults(given, at, ARRAY['name', 'email']);
        IF jsonb_typeof(given -> 'email') IS DISTINCT FROM 'string' THEN
            faults := faults || mailwright.fault(at || '/email', 'required', 'must be given');
        ELSE
            email := given ->> 'email';
            name := CASE jsonb_typeof(given -> 'name') WHEN 'string' THEN given ->> 'name' END;
            whole := email;
        END IF;
    ELSE
        faults := mailwright.wrong_type(at, 'an address', given);
    END CASE;
    IF email IS NOT NULL THEN
        email := mailwright.trimmed(email);
        name := nullif(mailwright.trimmed(name), '');
        flaw := COALESCE(flaw, mailwright.mailbox_flaw(email));
        IF flaw IS NULL AND (length(name) > 320 OR mailwright.has_control(name)) THEN
            flaw := 'has a display name that cannot be written into a header';
        END IF;
    END IF;
    IF flaw IS NOT NULL THEN
        IF length(whole) - length(replace(whole, '@', '')) > 1 AND whole ~ '[,; ]' AND NOT mailwright.has_control(whole) THEN
            flaw := 'seems to be several addresses in one string: give a list, one address in each string';
        END IF;
        faults := faults || mailwright.fault(at, 'invalid_address', flaw);
    END IF;
    IF faults <> '[]' THEN
        email := NULL;
        name := NULL;
    ELSE
        email := left(email, length(email) - length(substring(email FROM '@([^@]*)$'))) || lower(substring(email FROM '@([^@]*)$'));
    END IF;
END $_$;
CREATE FUNCTION mailwright.read_addresses(message jsonb, field text, most integer, OUT boxes jsonb, OUT faults jsonb) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    given jsonb := mailwright.value(message, field);
    list jsonb[] := '{}';
    read record;
    item jsonb;
    n integer := 0;
    is_list boolean := jsonb_typeof(given) = 'array';
BEGIN
    boxes := '[]';
    faults := '[]';
    IF given IS NULL THEN
        RETURN;
    ELSIF is_list AND jsonb_array_length(given) > most THEN
        faults := mailwright.fault('/' || field, 'too_many_recipients',
            jsonb_array_length(given) || ' addresses; the limit is ' || most);
        RETURN;
    END IF;
    FOR item IN SELECT * FROM jsonb_array_elements(CASE WHEN is_list THEN given ELSE jsonb_build_array(given) END) LOOP
        SELECT * INTO read FROM mailwright.read_address(item, '/' || field || CASE WHEN is_list THEN '/' || n ELSE '' END);
        IF read.faults <> '[]' THEN
            faults := faults || read.faults;
        ELSE
            list := list || jsonb_build_object('email', read.email, 'name', read.name, 'at', '/' || field || '/' || n);
        END IF;
        n := n + 1;
    END LOOP;
    boxes := to_jsonb(list);
END $$;
CREATE FUNCTION mailwright.read_base64(given text, OUT content bytea, OUT media_type text, OUT flaw text) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    digits text := given;
    head text := ltrim(left(given, 400), E' \t\r\n');
    bad text;
BEGIN
    IF lower(left(head, 5)) = 'data:' AND strpos(given, ',') > 0 THEN
        head := ltrim(split_part(given, ',', 1), E' \t\r\n');
        IF right(head, 7) <> ';base64' THEN
            flaw := 'is a data: URI without ;base64';
            RETURN;
        END IF;
        media_type := nullif(substr(head, 6, length(head) - 12), '');
        digits := substr(given, strpos(given, ',') + 1);
    END IF;
    digits := rtrim(digits, E'= \t\r\n');
    IF strpos(digits, '=') > 0 THEN
        flaw := 'is not base64: it goes on behind the ''='' at byte ' || strpos(digits, '=') - 1;
        RETURN;
    END IF;
    -- What is not there costs one look; `translate` would walk through megabytes.
    digits := replace(replace(replace(replace(replace(replace(digits, '-', '+'), '_', '/'), ' ', ''), E'\t', ''), E'\r', ''),
        E'\n', '');
    IF length(digits) % 4 = 1 THEN
        flaw := 'is not base64: ' || length(digits) || ' digits end in the middle of a byte; it seems to be cut off';
    END IF;
    content := decode(digits || repeat('=', (4 - length(digits) % 4) % 4), 'base64');
EXCEPTION WHEN invalid_parameter_value THEN
    bad := substring(digits FROM '[^A-Za-z0-9+/]');
    flaw := COALESCE('is not base64: it holds ''' || bad || '''', flaw, 'is not base64');
END $$;
CREATE FUNCTION mailwright.read_instant(given text) RETURNS timestamp with time zone
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
DECLARE
    part text[] := regexp_match(given,
        '^(\d{4}-\d\d-\d\d)[Tt]((?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?)(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$');
    shift interval := '0';
BEGIN
    IF part IS NULL OR length(given) > 64 THEN
        RETURN NULL;
    END IF;
    IF part[3] IS NOT NULL THEN
        shift := make_interval(hours => (part[3] || part[4])::integer, mins => (part[3] || part[5])::integer);
    END IF;
    RETURN ((part[1] || ' ' || part[2])::timestamp - shift) AT TIME ZONE 'UTC';
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $_$;
CREATE FUNCTION mailwright.read_objects(message jsonb, field text, most integer, OUT items jsonb, OUT faults jsonb) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    given jsonb := mailwright.value(message, field);
BEGIN
    items := '[]';
    faults := '[]';
    IF jsonb_typeof(given) <> 'array' THEN
        faults := mailwright.wrong_type('/' || field, 'a list', given);
    ELSIF jsonb_array_length(given) > most THEN
        faults := mailwright.fault('/' || field, 'too_many', jsonb_array_length(given) || '; the limit is ' || most);
    ELSIF given IS NOT NULL THEN
        items := given;
        SELECT COALESCE(jsonb_agg(f.fault -> 0), '[]') INTO faults
        FROM jsonb_array_elements(given) WITH ORDINALITY AS i (item, n),
            LATERAL (SELECT mailwright.wrong_type('/' || field || '/' || i.n - 1, 'an object', i.item) AS fault) AS f
        WHERE jsonb_typeof(i.item) <> 'object';
    END IF;
END $$;
CREATE FUNCTION mailwright.read_template(message jsonb, project uuid, mode text, OUT faults jsonb, OUT version integer, OUT label text) RETURNS record
    LANGUAGE plpgsql STABLE
    AS $_$
DECLARE
    given jsonb := mailwright.value(message, 'template');
    own_id text;
    own_alias text;
    wanted integer;
    field text;
    found record;
BEGIN
    faults := '[]';
    IF given IS NULL THEN
        RETURN;
    ELSIF jsonb_typeof(given) <> 'object' THEN
        faults := mailwright.wrong_type('/template', 'an object', given);
        RETURN;
    END IF;
    FOREACH field IN ARRAY ARRAY['text', 'html', 'raw'] LOOP
        IF mailwright.value(message, field) IS NOT NULL THEN
            faults := faults || mailwright.fault('/' || field, 'conflict',
                'the template gives the content; leave out ' || field || ' or template');
        END IF;
    END LOOP;
    FOREACH field IN ARRAY ARRAY['id', 'alias', 'locale'] LOOP
        faults := faults || mailwright.text_faults(given, '/template', field);
    END LOOP;
    own_id := CASE jsonb_typeof(given -> 'id') WHEN 'string' THEN given ->> 'id' END;
    own_alias := CASE jsonb_typeof(given -> 'alias') WHEN 'string' THEN given ->> 'alias' END;
    IF (own_id IS NULL) = (own_alias IS NULL) THEN
        faults := faults || mailwright.fault('/template/alias', 'required', 'give id or alias, and not both');
    ELSIF own_id !~ '^tpl_[0-9a-f]{32}$' THEN
        faults := faults || mailwright.fault('/template/id', 'unknown_template', 'there is no template with that id');
    ELSIF own_alias !~ '^[a-z0-9][a-z0-9._-]{0,63}$' THEN
        faults := faults || mailwright.fault('/template/alias', 'invalid_alias',
            'must have 1 to 64 lower-case letters, digits, ''-'', ''_'' and ''.'', and begin with a letter or digit');
    ELSIF own_alias IN ('settings', 'starters') OR starts_with(own_alias, 'tpl_') THEN
        faults := faults || mailwright.fault('/template/alias', 'invalid_alias',
            'is a word with a meaning of its own: choose another');
    END IF;
    IF mailwright.value(given, 'version') IS NOT NULL THEN
        IF jsonb_typeof(given -> 'version') <> 'number' OR (given ->> 'version')::numeric % 1 <> 0 THEN
            faults := faults || mailwright.wrong_type('/template/version', 'a whole number', given -> 'version');
        ELSIF (given ->> 'version')::numeric NOT BETWEEN 1 AND 2147483647 THEN
            faults := faults || mailwright.fault('/template/version', 'unknown_version',
                'there is no such version: the first one is 1');
        ELSE
            wanted := (given ->> 'version')::numeric;
        END IF;
    END IF;
    IF jsonb_typeof(given -> 'locale') = 'string' AND (length(given ->> 'locale') > 35
        OR given ->> 'locale' !~ '^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$')
    THEN
        faults := faults || mailwright.fault('/template/locale', 'invalid_locale',
            'must be a language tag such as en, pt-BR or zh-Hans');
    END IF;
    IF mailwright.value(given, 'variables') IS NOT NULL THEN
        IF jsonb_typeof(given -> 'variables') <> 'object' THEN
            faults := faults || mailwright.wrong_type('/template/variables', 'an object', given -> 'variables');
        ELSIF octet_length(mailwright.canonical(given -> 'variables')) > 262144 THEN
            faults := faults || mailwright.fault('/template/variables', 'too_long', 'the limit is 262144 bytes');
        END IF;
    END IF;
    faults := faults || mailwright.unknown_faults(given, '/template', ARRAY['id', 'alias', 'version', 'locale', 'variables']);
    IF faults <> '[]' THEN
        RETURN;
    END IF;
    label := COALESCE(own_id, own_alias);
    SELECT t.kind, v.number, v.state INTO found FROM public.templates AS t
    LEFT JOIN public.template_versions AS v ON v.template_id = t.id AND v.number = COALESCE(wanted, t.published_version)
    WHERE t.project_id = read_template.project AND t.mode = read_template.mode
        AND (t.id = substr(own_id, 5)::uuid OR t.alias = own_alias);
    version := found.number;
    faults := CASE
        WHEN found.kind IS DISTINCT FROM 'message' THEN mailwright.fault('/template', 'unknown_template',
            'there is no template ''' || label || ''' that can be sent')
        WHEN version IS NULL AND wanted IS NOT NULL THEN mailwright.fault('/template', 'unknown_version',
            '''' || label || ''' has no version ' || wanted)
        WHEN version IS NULL THEN mailwright.fault('/template', 'unknown_version',
            '''' || label || ''' was never published')
        WHEN mode = 'live' AND found.state <> 'approved' THEN mailwright.fault('/template', 'unknown_version',
            'version ' || version || ' of ''' || label || ''' was never published')
        ELSE '[]' END;
END $_$;
CREATE FUNCTION mailwright.read_times(message jsonb, now timestamp with time zone, OUT send_at timestamp with time zone, OUT expires_at timestamp with time zone, OUT faults jsonb) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    farthest CONSTANT interval := make_interval(hours => 24 * 90);
    ttl jsonb := mailwright.value(message, 'ttl_seconds');
    field text := 'expires_at';
    base timestamptz;
BEGIN
    faults := mailwright.text_faults(message, '', 'send_at') || mailwright.text_faults(message, '', 'expires_at');
    IF jsonb_typeof(message -> 'send_at') = 'string' THEN
        send_at := date_trunc('milliseconds', mailwright.read_instant(message ->> 'send_at'));
        IF send_at IS NULL THEN
            faults := faults || mailwright.fault('/send_at', 'invalid_time',
                'is not an RFC 3339 instant such as 2026-11-22T10:00:00Z');
        ELSIF send_at < now - make_interval(hours => 24) THEN
            faults := faults || mailwright.fault('/send_at', 'in_the_past', 'lies more than a day in the past');
        ELSIF send_at - now > farthest THEN
            faults := faults || mailwright.fault('/send_at', 'too_far', 'must lie within 90 days');
        END IF;
    END IF;
    base := GREATEST(send_at, now);
    IF jsonb_typeof(ttl) <> 'number' OR (ttl #>> '{}')::numeric % 1 <> 0 THEN
        faults := faults || mailwright.wrong_type('/ttl_seconds', 'a whole number', ttl);
        ttl := NULL;
    END IF;
    IF ttl IS NOT NULL AND jsonb_typeof(message -> 'expires_at') = 'string' THEN
        faults := faults || mailwright.fault('/ttl_seconds', 'conflict', 'give expires_at or ttl_seconds, not both');
    END IF;
    IF jsonb_typeof(message -> 'expires_at') = 'string' THEN
        expires_at := mailwright.read_instant(message ->> 'expires_at');
        IF expires_at IS NULL THEN
            faults := faults || mailwright.fault('/expires_at', 'invalid_time',
                'is not an RFC 3339 instant such as 2026-11-22T10:00:00Z');
        END IF;
    ELSIF ttl IS NOT NULL THEN
        field := 'ttl_seconds';
        expires_at := base + make_interval(secs => GREATEST(LEAST((ttl #>> '{}')::numeric, 1e9), -1)::double precision);
    END IF;
    IF expires_at <= base THEN
        faults := faults || mailwright.fault('/' || field, 'in_the_past', 'the message would expire before it could be sent');
    ELSIF expires_at - base > farthest THEN
        faults := faults || mailwright.fault('/' || field, 'too_far', 'must lie within 90 days');
    END IF;
END $$;
CREATE FUNCTION mailwright.recipients(found jsonb, at timestamp with time zone, shard_index integer) RETURNS jsonb
    LANGUAGE sql
    AS $$
    WITH named AS (
        SELECT f.item ->> 'email' AS email, f.item ->> 'at' AS at, split_part(f.item ->> 'at', '/', 2) AS kind, f.n,
            min(f.n) OVER (PARTITION BY lower(f.item ->> 'email')) AS first
        FROM jsonb_array_elements(found) WITH ORDINALITY AS f (item, n)
    ), boxes AS (
        SELECT n.first, (array_agg(n.email ORDER BY n.n))[1] AS email, (array_agg(n.kind ORDER BY n.n))[1] AS kind,
            string_agg(n.at, ',' ORDER BY n.n) AS places
        FROM named AS n GROUP BY n.first
    ), ranked AS (
        SELECT b.*, '/' || b.kind || '/' || row_number() OVER (PARTITION BY b.kind ORDER BY b.first) - 1 AS guess FROM boxes AS b
    )
    SELECT COALESCE(jsonb_agg(jsonb_build_object(
        'id', mailwright.written('rcp', mailwright.new_id(recipients.at, shard_index)), 'email', r.email, 'kind', r.kind,
        'places', nullif(r.places, r.guess)) ORDER BY r.first), '[]')
    FROM ranked AS r
$$;
CREATE FUNCTION mailwright.replayed(project uuid, key text, fingerprint bytea) RETURNS text
    LANGUAGE plpgsql
    AS $$
DECLARE
    known record;
BEGIN
    SELECT k.fingerprint, k.message_ids INTO known FROM public.idempotency_keys AS k
    WHERE k.shard = mailwright.shard(mailwright.shard_of_key(replayed.project, replayed.key))
        AND k.project_id = replayed.project AND k.key = replayed.key AND k.expires_at > clock_timestamp();
    IF known.fingerprint <> replayed.fingerprint THEN
        RAISE EXCEPTION 'the idempotency key was used with another message' USING ERRCODE = 'unique_violation';
    END IF;
    RETURN mailwright.written('msg', known.message_ids[1]);
END $$;
CREATE FUNCTION mailwright.required_faults(object jsonb, at text, name text, absent text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN mailwright.value(object, name) IS NULL
        THEN mailwright.fault(mailwright.pointer(at, name), 'required', absent)
        ELSE mailwright.text_faults(object, at, name) END
$$;
CREATE FUNCTION mailwright.revoke_from(role_name text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON FUNCTION mailwright.enqueue(jsonb, text, text, text, timestamptz) FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON SCHEMA mailwright FROM %I', role_name);
    RETURN true;
END $$;
CREATE FUNCTION mailwright.sender(project text, mode text, OUT project_id uuid, OUT from_domains text[]) RETURNS record
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    projects uuid[];
BEGIN
    IF mode IS NULL OR mode NOT IN ('live', 'test') THEN
        RAISE EXCEPTION 'mode must be live or test' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(DISTINCT p.id) INTO projects
    FROM public.outbox_senders AS s
    JOIN pg_roles AS r ON r.rolname = s.role_name
    JOIN public.projects AS p ON p.id = s.project_id
    WHERE pg_has_role(session_user, r.oid, 'MEMBER') AND sender.mode = ANY (s.modes)
        AND (sender.project IS NULL OR sender.project IN (p.name, mailwright.written('prj', p.id)));
    IF cardinality(projects) = 1 THEN
        project_id := projects[1];
    ELSIF projects IS NULL THEN
        RAISE EXCEPTION 'the role % may not enqueue % mail%', quote_ident(session_user), mode,
            COALESCE(' for the project ' || quote_literal(left(project, 64)), '')
            USING ERRCODE = 'insufficient_privilege',
            HINT = 'mailwright outbox grant --role ROLE --project PROJECT --mode live,test';
    ELSE
        RAISE EXCEPTION 'the role % may enqueue for several projects: name one', quote_ident(session_user)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A grant without domains allows any.
    SELECT CASE WHEN bool_and(s.from_domains IS NOT NULL) THEN (SELECT array_agg(d) FROM (
        SELECT unnest(t.from_domains) AS d FROM public.outbox_senders AS t JOIN pg_roles AS q ON q.rolname = t.role_name
        WHERE t.project_id = sender.project_id AND pg_has_role(session_user, q.oid, 'MEMBER')
            AND sender.mode = ANY (t.modes)) AS all_of_them) END INTO from_domains
    FROM public.outbox_senders AS s JOIN pg_roles AS r ON r.rolname = s.role_name
    WHERE s.project_id = sender.project_id AND pg_has_role(session_user, r.oid, 'MEMBER') AND sender.mode = ANY (s.modes);
END $$;
CREATE FUNCTION mailwright.shard(index integer) RETURNS integer
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT ('{60,8,82,1,31,88,79,24,10,92,48,109,5,112,50,166,4,7,17,172,16,96,170,85,36,89,19,0,37,45,101,3,113,52,62,99,136,168,'
        '46,28,6,66,70,21,83,39,43,13,2,351,27,95,58,149,41,179,9,80,59,22,12,11,44,18}'::integer[])[index + 1]
$$;
CREATE FUNCTION mailwright.shard_of_key(project uuid, key text) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    bytes bytea := uuid_send(project) || convert_to(key, 'UTF8');
    hash numeric := 14695981039346656037;
    low integer;
BEGIN
    FOR i IN 0 .. length(bytes) - 1 LOOP
        low := (hash % 256)::integer;
        hash := ((hash - low + (low # get_byte(bytes, i))) * 1099511628211) % 18446744073709551616;
    END LOOP;
    RETURN (hash % 64)::integer # (div(hash, 536870912) % 64)::integer;
END $$;
CREATE FUNCTION mailwright.shown(address jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $_$
    SELECT CASE
        WHEN address ->> 'name' IS NULL THEN address ->> 'email'
        WHEN address ->> 'name' ~ '^[A-Za-z0-9!#$%&''*+/=?^_`{|}~ .\u0080-\U0010ffff-]*$'
            THEN (address ->> 'name') || ' <' || (address ->> 'email') || '>'
        ELSE '"' || regexp_replace(address ->> 'name', '(["\\])', '\\\1', 'g') || '" <' || (address ->> 'email') || '>' END
$_$;
CREATE FUNCTION mailwright.text_faults(object jsonb, at text, name text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN jsonb_typeof(mailwright.value(object, name)) <> 'string'
        THEN mailwright.wrong_type(mailwright.pointer(at, name), 'a string', object -> name) ELSE '[]' END
$$;
CREATE FUNCTION mailwright.trimmed(given text) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT btrim(given, U&' \0009\000A\000B\000C\000D\0085\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\2028\2029\202F\205F\3000')
$$;
CREATE FUNCTION mailwright.unknown_faults(object jsonb, at text, known text[]) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    faults jsonb := '[]';
    aliases CONSTANT jsonb := '{"body": "text", "cid": "content_id", "file_name": "filename", "mime_type": "content_type",
        "name": "filename", "recipients": "to", "sender": "from", "html_body": "html", "text_body": "text",
        "type": "content_type", "data": "content", "address": "email", "in_reply_to": "headers"}';
    name text;
    plain text;
    meant text;
BEGIN
    FOR name IN SELECT k FROM jsonb_object_keys(object) AS k WHERE k <> ALL (known) LIMIT 100 LOOP
        plain := left(lower(translate(name, '_-', '')), 64);
        meant := aliases ->> lower(name);
        IF meant IS NULL OR meant <> ALL (known) THEN
            SELECT k INTO meant
            FROM unnest(known) AS k, LATERAL (SELECT mailwright.edits(plain, translate(k, '_-', '')) AS n) AS e
            WHERE e.n <= LEAST(2, (length(plain) + 2) / 3) ORDER BY e.n LIMIT 1;
        END IF;
        faults := faults || mailwright.fault(mailwright.pointer(at, name), 'unknown_field',
            'there is no field ''' || name || '''' || COALESCE('; did you mean ''' || meant || '''?', ''));
        meant := NULL;
    END LOOP;
    RETURN faults;
END $$;
CREATE FUNCTION mailwright.uploads_of(message jsonb, project uuid, mode text) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $_$
    SELECT COALESCE(jsonb_object_agg(mailwright.written('upl', u.id), jsonb_build_object('filename', u.filename,
        'content_type', u.content_type, 'content', translate(encode(c.content, 'base64'), E'\n', ''))), '{}')
    FROM public.uploads AS u
    JOIN public.upload_contents AS c ON c.project_id = u.project_id AND c.sha256 = u.sha256
    WHERE u.project_id = uploads_of.project AND (u.mode = 'test' OR uploads_of.mode = 'live') AND u.id IN (
        SELECT substr(f.item ->> 'upload_id', 5)::uuid
        FROM jsonb_array_elements(CASE jsonb_typeof(message -> 'attachments') WHEN 'array' THEN message -> 'attachments' END)
            AS f (item)
        WHERE f.item ->> 'upload_id' ~ '^upl_[0-9a-f]{32}$')
$_$;
CREATE FUNCTION mailwright.value(object jsonb, name text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT nullif(object -> name, 'null')
$$;
CREATE FUNCTION mailwright.weight(message jsonb, OUT bytes bigint, OUT heaviest text) RETURNS record
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT COALESCE(sum(w.n), 0), (array_agg(w.at ORDER BY w.n DESC))[1] FROM (
        SELECT '/' || f.name AS at, octet_length(message ->> f.name) * f.share AS n
        FROM (VALUES ('text', 1.0), ('html', 1.0), ('raw', 0.75)) AS f (name, share) WHERE message ->> f.name IS NOT NULL
        UNION ALL
        SELECT '/attachments/' || f.n - 1, octet_length(replace(replace(f.file ->> 'content', E'\r', ''), E'\n', '')) * 78.0 / 76
        FROM jsonb_array_elements(mailwright.value(message, 'attachments')) WITH ORDINALITY AS f (file, n)
        UNION ALL
        SELECT '/alternatives/' || f.n - 1, octet_length(f.file ->> 'content')
        FROM jsonb_array_elements(mailwright.value(message, 'alternatives')) WITH ORDINALITY AS f (file, n)) AS w
$$;
CREATE FUNCTION mailwright.wire_flaw(content bytea) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
    plain text;
BEGIN
    IF position('\x00'::bytea IN content) > 0 THEN
        RETURN 'a NUL';
    END IF;
    plain := replace(convert_from(content, 'LATIN1'), E'\r\n', U&'\0001');
    IF strpos(plain, E'\n') > 0 THEN
        RETURN 'a bare LF';
    ELSIF strpos(plain, E'\r') > 0 THEN
        RETURN 'a bare CR';
    ELSIF EXISTS (SELECT FROM string_to_table(replace(convert_from(content, 'LATIN1'), E'\r\n', E'\n'), E'\n') AS l
        WHERE length(l) > 998) THEN
        RETURN 'a line over 998 octets';
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION mailwright.with_uploads(message jsonb, uploads jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN uploads = '{}' THEN message ELSE message || jsonb_build_object('attachments', (
        SELECT jsonb_agg(COALESCE(uploads -> (f.file ->> 'upload_id'), '{}') || (jsonb_strip_nulls(f.file) - 'upload_id')
            ORDER BY f.n)
        FROM jsonb_array_elements(message -> 'attachments') WITH ORDINALITY AS f (file, n))) END
$$;
CREATE FUNCTION mailwright.written(prefix text, id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT prefix || '_' || replace(id::text, '-', '')
$$;
CREATE FUNCTION mailwright.wrong_type(pointer text, wanted text, found jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT mailwright.fault(pointer, 'wrong_type', 'must be ' || wanted || ', not ' || CASE jsonb_typeof(found)
        WHEN 'null' THEN 'null' WHEN 'boolean' THEN 'a boolean' WHEN 'number' THEN 'a number'
        WHEN 'string' THEN 'a string' WHEN 'array' THEN 'a list' ELSE 'an object' END)
$$;
CREATE FUNCTION public.mentions_address(content text, needle text, pattern text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE(((strpos(lower(content), needle) > 0) AND (lower(content) ~ pattern)), false);
CREATE TABLE public.accepting_processes (
    id uuid NOT NULL,
    seen_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE public.aggregate_reports (
    id uuid NOT NULL,
    kind text NOT NULL,
    project_id uuid,
    domain text NOT NULL,
    covered_by text NOT NULL,
    reporter text NOT NULL,
    report_id text NOT NULL,
    signed_by text NOT NULL,
    begin_at timestamp with time zone NOT NULL,
    end_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    total bigint NOT NULL,
    passed bigint NOT NULL,
    rows jsonb NOT NULL,
    CONSTRAINT aggregate_reports_kind CHECK ((kind = ANY (ARRAY['dmarc'::text, 'tls'::text])))
);
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
    sealed bytea,
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
CREATE TABLE public.audit (
    id uuid NOT NULL,
    project_id uuid,
    actor text NOT NULL,
    actor_project_id uuid,
    address text,
    action text NOT NULL,
    subject text DEFAULT ''::text NOT NULL,
    status smallint,
    CONSTRAINT audit_texts_length CHECK (((length(actor) <= 300) AND (length(action) <= 200) AND (length(subject) <= 300)))
);
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
    as_of timestamp with time zone,
    CONSTRAINT deliveries_held CHECK ((held = ANY (ARRAY['paused'::text, 'shared'::text, 'rate'::text, 'budget'::text, 'warmup'::text, 'aside'::text, 'no_source'::text, 'scripted'::text]))),
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
    signs_since timestamp with time zone,
    sealed boolean DEFAULT false NOT NULL,
    CONSTRAINT dkim_keys_algorithm CHECK ((algorithm = ANY (ARRAY['rsa-sha256'::text, 'ed25519-sha256'::text]))),
    CONSTRAINT dkim_keys_domain_form CHECK (((domain = lower(domain)) AND ((length(domain) >= 3) AND (length(domain) <= 253)))),
    CONSTRAINT dkim_keys_selector_form CHECK (((selector = lower(selector)) AND ((length(selector) >= 1) AND (length(selector) <= 63))))
);
CREATE TABLE public.domain_pool_members (
    project_id uuid NOT NULL,
    pool text NOT NULL,
    domain_id uuid NOT NULL,
    weight integer NOT NULL,
    warms_up boolean NOT NULL,
    CONSTRAINT domain_pool_members_weight CHECK (((weight >= 1) AND (weight <= 1000)))
);
CREATE TABLE public.domain_pools (
    project_id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
CREATE TABLE public.domains (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    proved_at timestamp with time zone,
    is_delegated boolean DEFAULT false NOT NULL,
    rotate_days integer,
    return_path_label text DEFAULT 'bounce'::text NOT NULL,
    has_return_path boolean DEFAULT false NOT NULL,
    wrong_since timestamp with time zone,
    checks jsonb DEFAULT '[]'::jsonb NOT NULL,
    dmarc jsonb,
    checked_at timestamp with time zone,
    next_check_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    link_label text DEFAULT 'links'::text NOT NULL,
    has_link_host boolean DEFAULT false NOT NULL,
    lists_asked_at timestamp with time zone,
    CONSTRAINT domains_name_form CHECK (((name = lower(name)) AND ((length(name) >= 3) AND (length(name) <= 253)))),
    CONSTRAINT domains_rotate_days CHECK (((rotate_days >= 5) AND (rotate_days <= 3650))),
    CONSTRAINT domains_state CHECK ((state = ANY (ARRAY['pending'::text, 'verified'::text, 'warning'::text, 'failed'::text]))),
    CONSTRAINT domains_unproved_is_pending CHECK (((proved_at IS NOT NULL) OR (state = 'pending'::text)))
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
CREATE TABLE public.listings (
    subject text NOT NULL,
    list text NOT NULL,
    since timestamp with time zone NOT NULL,
    checked_at timestamp with time zone NOT NULL,
    answers jsonb NOT NULL
);
CREATE TABLE public.log_eras (
    era smallint NOT NULL,
    system_identifier bigint NOT NULL,
    began_at timestamp with time zone NOT NULL
);
CREATE TABLE public.message_blocks (
    project_id uuid NOT NULL,
    after_id uuid NOT NULL,
    last_id uuid NOT NULL,
    terms bigint[],
    unsettled uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    due_at timestamp with time zone,
    CONSTRAINT message_blocks_unknown_is_due CHECK (((terms IS NOT NULL) OR (due_at IS NOT NULL)))
)
PARTITION BY RANGE (last_id);
ALTER TABLE ONLY public.message_blocks ALTER COLUMN terms SET STORAGE EXTERNAL;
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
    sandbox_script text,
    stream text,
    credential text,
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
CREATE TABLE public.outbox_limits (
    name text NOT NULL,
    most bigint NOT NULL
);
CREATE TABLE public.outbox_senders (
    role_name text NOT NULL,
    project_id uuid NOT NULL,
    modes text[] NOT NULL,
    from_domains text[],
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT outbox_senders_modes CHECK (((modes <@ ARRAY['live'::text, 'test'::text]) AND (cardinality(modes) >= 1)))
);
CREATE TABLE public.outcomes (
    hour timestamp with time zone NOT NULL,
    project_id uuid NOT NULL,
    domain text NOT NULL,
    receiver text NOT NULL,
    accepted bigint DEFAULT 0 NOT NULL,
    deferred bigint DEFAULT 0 NOT NULL,
    rejected bigint DEFAULT 0 NOT NULL,
    bad_addresses bigint DEFAULT 0 NOT NULL,
    complaints bigint DEFAULT 0 NOT NULL,
    refused bigint DEFAULT 0 NOT NULL
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
    requires_verified_domain boolean DEFAULT false NOT NULL,
    alarm_bounce_percent double precision,
    alarm_complaint_percent double precision,
    alarm_pauses boolean DEFAULT false NOT NULL,
    alarmed_at timestamp with time zone,
    alarm_reason text,
    allowed_recipients text[],
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
    opened_at timestamp with time zone,
    clicked_at timestamp with time zone,
    complained_at timestamp with time zone,
    unsubscribed_at timestamp with time zone,
    opens smallint DEFAULT 0 NOT NULL,
    clicks smallint DEFAULT 0 NOT NULL,
    CONSTRAINT recipients_attempts CHECK ((attempts >= 0)),
    CONSTRAINT recipients_events CHECK ((events >= 1)),
    CONSTRAINT recipients_kind CHECK ((kind = ANY (ARRAY['to'::text, 'cc'::text, 'bcc'::text]))),
    CONSTRAINT recipients_settled_has_time CHECK (((status <> ALL (ARRAY['queued'::text, 'deferred'::text])) = (settled_at IS NOT NULL))),
    CONSTRAINT recipients_status CHECK ((status = ANY (ARRAY['queued'::text, 'deferred'::text, 'delivered'::text, 'bounced'::text, 'expired'::text, 'suppressed'::text, 'cancelled'::text])))
)
PARTITION BY RANGE (message_id);
CREATE TABLE public.reports (
    id uuid NOT NULL,
    digest bytea NOT NULL,
    received_at timestamp with time zone NOT NULL,
    source text NOT NULL,
    envelope_from text NOT NULL,
    envelope_to text NOT NULL,
    meaning text NOT NULL,
    outcome text NOT NULL,
    project_id uuid,
    mode text,
    message_id uuid,
    recipient_id uuid,
    detail jsonb NOT NULL,
    raw bytea NOT NULL,
    CONSTRAINT reports_outcome CHECK ((outcome = ANY (ARRAY['told'::text, 'noted'::text, 'review'::text, 'unattributed'::text]))),
    CONSTRAINT reports_source CHECK ((source = ANY (ARRAY['smtp'::text, 'http'::text, 'maildir'::text, 'link'::text])))
);
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
CREATE TABLE public.sandbox_afterwards (
    shard integer NOT NULL,
    message_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    "position" smallint NOT NULL,
    project_id uuid NOT NULL,
    what text NOT NULL,
    due_at timestamp with time zone NOT NULL
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
CREATE TABLE public.sandbox_scripts (
    project_id uuid NOT NULL,
    "position" smallint NOT NULL,
    pattern text NOT NULL,
    script text NOT NULL
);
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
    charged boolean DEFAULT true NOT NULL,
    lease_owner uuid,
    lease_until timestamp with time zone,
    CONSTRAINT scheduled_messages_lease_is_whole CHECK (((lease_owner IS NULL) = (lease_until IS NULL))),
    CONSTRAINT scheduled_messages_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text])))
);
CREATE TABLE public.schema_compatibility (
    is_current boolean DEFAULT true NOT NULL,
    min_binary bigint NOT NULL,
    CONSTRAINT schema_compatibility_is_one_row CHECK (is_current)
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
CREATE TABLE public.tls_report_sends (
    day date NOT NULL,
    domain text NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    done_at timestamp with time zone,
    outcome text,
    tries integer DEFAULT 1 NOT NULL,
    sent_to text[] DEFAULT '{}'::text[] NOT NULL
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
CREATE TABLE public.token_keys (
    id smallint NOT NULL,
    secret bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    sealed boolean DEFAULT false NOT NULL,
    CONSTRAINT token_keys_id CHECK (((id >= 0) AND (id <= 255))),
    CONSTRAINT token_keys_secret CHECK ((sealed OR (octet_length(secret) = 32)))
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
CREATE TABLE public.warmup_days (
    day date NOT NULL,
    subject text NOT NULL,
    receiver text NOT NULL,
    messages bigint NOT NULL,
    kind text NOT NULL,
    accepted bigint DEFAULT 0 NOT NULL,
    deferred bigint DEFAULT 0 NOT NULL,
    refused bigint DEFAULT 0 NOT NULL,
    CONSTRAINT warmup_days_kind CHECK ((kind = ANY (ARRAY['address'::text, 'domain'::text])))
);
CREATE TABLE public.warmups (
    kind text NOT NULL,
    subject text NOT NULL,
    receiver text NOT NULL,
    step smallint NOT NULL,
    judged date NOT NULL,
    CONSTRAINT warmups_kind CHECK ((kind = ANY (ARRAY['address'::text, 'domain'::text])))
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
    tries jsonb DEFAULT '[]'::jsonb NOT NULL,
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
    signing_seed bytea NOT NULL,
    stalled_at timestamp with time zone,
    form text DEFAULT 'standard'::text NOT NULL,
    sealed boolean DEFAULT false NOT NULL,
    CONSTRAINT webhook_endpoints_disabled_has_reason CHECK ((enabled = (disabled_reason IS NULL))),
    CONSTRAINT webhook_endpoints_mode CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text, 'both'::text]))),
    CONSTRAINT webhook_endpoints_secret_length CHECK ((sealed OR ((octet_length(secret) >= 24) AND (octet_length(secret) <= 64)))),
    CONSTRAINT webhook_endpoints_signing_seed_length CHECK ((sealed OR (octet_length(signing_seed) = 32)))
);
CREATE TABLE public.webhook_feeder (
    is_current boolean DEFAULT true NOT NULL,
    owner uuid NOT NULL,
    until timestamp with time zone NOT NULL,
    CONSTRAINT webhook_feeder_is_one_row CHECK (is_current)
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
    tries jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT webhook_jobs_lease_is_whole CHECK ((((lease_token IS NULL) = (lease_until IS NULL)) AND ((lease_token IS NULL) = (lease_owner IS NULL)))),
    CONSTRAINT webhook_jobs_leased_was_counted CHECK (((lease_token IS NULL) OR (attempt >= 1)))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='500', autovacuum_vacuum_cost_delay='0');
CREATE TABLE public.webhook_old_secrets (
    endpoint_id uuid NOT NULL,
    secret bytea NOT NULL,
    signing_seed bytea NOT NULL,
    until timestamp with time zone NOT NULL,
    sealed boolean DEFAULT false NOT NULL
);
CREATE TABLE public.webhook_positions (
    endpoint_id uuid NOT NULL,
    project_id uuid NOT NULL,
    "position" text NOT NULL,
    fed_until timestamp with time zone NOT NULL
);
CREATE TABLE public.webhook_replays (
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    event_ids uuid[] NOT NULL,
    since timestamp with time zone,
    until timestamp with time zone NOT NULL,
    types text[] NOT NULL,
    only_failed boolean NOT NULL,
    "position" text NOT NULL,
    events bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    done_at timestamp with time zone
);
ALTER TABLE ONLY public.accepting_processes
    ADD CONSTRAINT accepting_processes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.aggregate_reports
    ADD CONSTRAINT aggregate_reports_pkey PRIMARY KEY (id);
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
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (shard, id);
ALTER TABLE ONLY public.dkim_keys
    ADD CONSTRAINT dkim_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.dkim_keys
    ADD CONSTRAINT dkim_keys_selector_key UNIQUE (project_id, domain, selector);
ALTER TABLE ONLY public.domain_pool_members
    ADD CONSTRAINT domain_pool_members_pkey PRIMARY KEY (project_id, pool, domain_id);
ALTER TABLE ONLY public.domain_pools
    ADD CONSTRAINT domain_pools_pkey PRIMARY KEY (project_id, name);
ALTER TABLE ONLY public.domains
    ADD CONSTRAINT domains_name_key UNIQUE (project_id, name);
ALTER TABLE ONLY public.domains
    ADD CONSTRAINT domains_pkey PRIMARY KEY (id);
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
ALTER TABLE ONLY public.listings
    ADD CONSTRAINT listings_pkey PRIMARY KEY (subject, list);
ALTER TABLE ONLY public.log_eras
    ADD CONSTRAINT log_eras_pkey PRIMARY KEY (era);
ALTER TABLE ONLY public.message_blocks
    ADD CONSTRAINT message_blocks_pkey PRIMARY KEY (project_id, last_id);
ALTER TABLE ONLY public.message_bodies
    ADD CONSTRAINT message_bodies_pkey PRIMARY KEY (shard, message_id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (shard, id);
ALTER TABLE ONLY public.mta_sts_policies
    ADD CONSTRAINT mta_sts_policies_pkey PRIMARY KEY (domain);
ALTER TABLE ONLY public.outbox_limits
    ADD CONSTRAINT outbox_limits_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.outbox_senders
    ADD CONSTRAINT outbox_senders_pkey PRIMARY KEY (role_name, project_id);
ALTER TABLE ONLY public.outcomes
    ADD CONSTRAINT outcomes_pkey PRIMARY KEY (project_id, hour, domain, receiver);
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
ALTER TABLE ONLY public.reports
    ADD CONSTRAINT reports_digest_key UNIQUE (digest);
ALTER TABLE ONLY public.reports
    ADD CONSTRAINT reports_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.retention_held
    ADD CONSTRAINT retention_held_pkey PRIMARY KEY (project_id, kind, message_id);
ALTER TABLE ONLY public.retention
    ADD CONSTRAINT retention_pkey PRIMARY KEY (project_id, kind);
ALTER TABLE ONLY public.sandbox_afterwards
    ADD CONSTRAINT sandbox_afterwards_pkey PRIMARY KEY (shard, message_id, recipient_id, "position");
ALTER TABLE ONLY public.sandbox_messages
    ADD CONSTRAINT sandbox_messages_pkey PRIMARY KEY (shard, message_id, id);
ALTER TABLE ONLY public.sandbox_scripts
    ADD CONSTRAINT sandbox_scripts_pkey PRIMARY KEY (project_id, "position");
ALTER TABLE ONLY public.scheduled_messages
    ADD CONSTRAINT scheduled_messages_pkey PRIMARY KEY (shard, id);
ALTER TABLE ONLY public.schema_compatibility
    ADD CONSTRAINT schema_compatibility_pkey PRIMARY KEY (is_current);
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
ALTER TABLE ONLY public.tls_report_sends
    ADD CONSTRAINT tls_report_sends_pkey PRIMARY KEY (day, domain);
ALTER TABLE ONLY public.tls_reports
    ADD CONSTRAINT tls_reports_pkey PRIMARY KEY (day, domain, policy_type, host, result);
ALTER TABLE ONLY public.token_keys
    ADD CONSTRAINT token_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.upload_contents
    ADD CONSTRAINT upload_contents_pkey PRIMARY KEY (project_id, sha256);
ALTER TABLE ONLY public.uploads
    ADD CONSTRAINT uploads_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.warmup_days
    ADD CONSTRAINT warmup_days_pkey PRIMARY KEY (kind, day, subject, receiver);
ALTER TABLE ONLY public.warmups
    ADD CONSTRAINT warmups_pkey PRIMARY KEY (kind, subject, receiver);
ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (shard, message_id, id);
ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.webhook_feeder
    ADD CONSTRAINT webhook_feeder_pkey PRIMARY KEY (is_current);
ALTER TABLE ONLY public.webhook_jobs
    ADD CONSTRAINT webhook_jobs_pkey PRIMARY KEY (shard, id);
ALTER TABLE ONLY public.webhook_old_secrets
    ADD CONSTRAINT webhook_old_secrets_pkey PRIMARY KEY (endpoint_id, secret);
ALTER TABLE ONLY public.webhook_positions
    ADD CONSTRAINT webhook_positions_pkey PRIMARY KEY (endpoint_id);
ALTER TABLE ONLY public.webhook_replays
    ADD CONSTRAINT webhook_replays_pkey PRIMARY KEY (endpoint_id, id);
CREATE INDEX aggregate_reports_by_domain ON public.aggregate_reports USING btree (covered_by, project_id, id);
CREATE INDEX aggregate_reports_by_time ON public.aggregate_reports USING btree (received_at);
CREATE UNIQUE INDEX aggregate_reports_same ON public.aggregate_reports USING btree (domain, kind, md5(((reporter || ' '::text) || report_id)), signed_by);
CREATE INDEX api_keys_by_project ON public.api_keys USING btree (project_id, id DESC);
CREATE INDEX audit_by_project ON public.audit USING btree (project_id, id DESC);
CREATE INDEX deliveries_expiring ON public.deliveries USING btree (shard, expires_at) WHERE ((lease_token IS NULL) AND (expires_at > '-infinity'::timestamp with time zone));
CREATE INDEX deliveries_leased ON public.deliveries USING btree (shard, lease_until) WHERE (lease_token IS NOT NULL);
CREATE INDEX deliveries_of_tests ON public.deliveries USING btree (project_id) WHERE (mode = 'test'::text);
CREATE INDEX deliveries_ready ON public.deliveries USING btree (shard, priority, project_id, next_hop, due_at, id) WHERE ((lease_token IS NULL) AND ready);
CREATE INDEX deliveries_revoked ON public.deliveries USING btree (shard, lease_owner) WHERE (revoked_at IS NOT NULL);
CREATE INDEX deliveries_waiting ON public.deliveries USING btree (shard, ready, due_at) WHERE (lease_token IS NULL);
CREATE INDEX domain_pool_members_by_domain ON public.domain_pool_members USING btree (domain_id);
CREATE INDEX domains_by_next_check ON public.domains USING btree (next_check_at);
CREATE UNIQUE INDEX domains_proved_key ON public.domains USING btree (name) WHERE (proved_at IS NOT NULL);
CREATE INDEX erasures_by_project ON public.erasures USING btree (project_id, id DESC);
CREATE INDEX erasures_pending ON public.erasures USING btree (look_at) WHERE (finished_at IS NULL);
CREATE INDEX events_in_commit_order ON ONLY public.events USING btree (shard, project_id, era, xid);
CREATE INDEX idempotency_keys_expiry ON public.idempotency_keys USING btree (shard, expires_at);
CREATE INDEX message_blocks_due ON ONLY public.message_blocks USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX message_blocks_terms ON ONLY public.message_blocks USING gin (terms) WITH (fastupdate=off);
CREATE INDEX message_blocks_unsure ON ONLY public.message_blocks USING btree (project_id, last_id) WHERE (due_at IS NOT NULL);
CREATE INDEX messages_by_batch ON ONLY public.messages USING btree (project_id, batch_id) WHERE (batch_id IS NOT NULL);
CREATE INDEX messages_by_project ON ONLY public.messages USING btree (project_id, id DESC);
CREATE INDEX outcomes_by_hour ON public.outcomes USING btree (hour);
CREATE INDEX recipients_by_project_address ON ONLY public.recipients USING btree (project_id, split_part(address, '@'::text, '-1'::integer), lower(address), message_id DESC);
CREATE INDEX reports_by_message ON public.reports USING btree (message_id) WHERE (message_id IS NOT NULL);
CREATE INDEX reports_by_project ON public.reports USING btree (project_id, id);
CREATE INDEX reports_by_time ON public.reports USING btree (received_at);
CREATE INDEX retention_due ON public.retention USING btree (look_at) WHERE (span_seconds IS NOT NULL);
CREATE INDEX retention_held_due ON public.retention_held USING btree (project_id, kind, look_at);
CREATE INDEX sandbox_afterwards_by_project ON public.sandbox_afterwards USING btree (project_id);
CREATE INDEX sandbox_afterwards_due ON public.sandbox_afterwards USING btree (due_at);
CREATE INDEX sandbox_messages_by_project ON ONLY public.sandbox_messages USING btree (project_id, id DESC);
CREATE INDEX scheduled_messages_by_batch ON public.scheduled_messages USING btree (project_id, batch_id) WHERE (batch_id IS NOT NULL);
CREATE INDEX scheduled_messages_by_project ON public.scheduled_messages USING btree (shard, project_id, id);
CREATE INDEX scheduled_messages_due ON public.scheduled_messages USING btree (shard, send_at);
CREATE INDEX scheduled_messages_in_turns ON public.scheduled_messages USING btree (shard, project_id, send_at);
CREATE INDEX scheduled_messages_of_project ON public.scheduled_messages USING btree (project_id, id DESC);
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
CREATE INDEX webhook_deliveries_failed ON ONLY public.webhook_deliveries USING btree (endpoint_id, event_id DESC) WHERE (status = 'failed'::text);
CREATE INDEX webhook_endpoints_by_project ON public.webhook_endpoints USING btree (project_id, id DESC);
CREATE INDEX webhook_jobs_by_endpoint ON public.webhook_jobs USING btree (endpoint_id, event_id DESC);
CREATE INDEX webhook_jobs_by_message ON public.webhook_jobs USING btree (shard, message_id);
CREATE INDEX webhook_jobs_due ON public.webhook_jobs USING btree (shard, due_at, id) WHERE (lease_token IS NULL);
CREATE INDEX webhook_jobs_leased ON public.webhook_jobs USING btree (shard, lease_until) WHERE (lease_token IS NOT NULL);
CREATE INDEX webhook_jobs_ready ON public.webhook_jobs USING btree (shard, endpoint_id, due_at) WHERE (lease_token IS NULL);
CREATE INDEX webhook_replays_running ON public.webhook_replays USING btree (endpoint_id, id) WHERE (done_at IS NULL);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.dkim_keys
    ADD CONSTRAINT dkim_keys_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.domain_pool_members
    ADD CONSTRAINT domain_pool_members_domain_id_fkey FOREIGN KEY (domain_id) REFERENCES public.domains(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.domain_pool_members
    ADD CONSTRAINT domain_pool_members_pool FOREIGN KEY (project_id, pool) REFERENCES public.domain_pools(project_id, name) ON DELETE CASCADE;
ALTER TABLE ONLY public.domain_pools
    ADD CONSTRAINT domain_pools_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.domains
    ADD CONSTRAINT domains_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.outbox_senders
    ADD CONSTRAINT outbox_senders_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.retention
    ADD CONSTRAINT retention_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.sandbox_scripts
    ADD CONSTRAINT sandbox_scripts_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.template_settings
    ADD CONSTRAINT template_settings_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.template_versions
    ADD CONSTRAINT template_versions_template_fkey FOREIGN KEY (template_id) REFERENCES public.templates(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_project_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);
ALTER TABLE ONLY public.webhook_old_secrets
    ADD CONSTRAINT webhook_old_secrets_endpoint_fkey FOREIGN KEY (endpoint_id) REFERENCES public.webhook_endpoints(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.webhook_positions
    ADD CONSTRAINT webhook_positions_endpoint_fkey FOREIGN KEY (endpoint_id) REFERENCES public.webhook_endpoints(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.webhook_replays
    ADD CONSTRAINT webhook_replays_endpoint_fkey FOREIGN KEY (endpoint_id) REFERENCES public.webhook_endpoints(id) ON DELETE CASCADE;
