#!/bin/sh
# Sends mail with curl. Prints a line of JSON for each case.
set -u
name=curl
. "$(dirname "$0")/lib.sh"

# send CASE URL OPTION...: curl asks for STARTTLS where it may, and must with --ssl-reqd.
send() {
    case=$1 url=$2
    shift 2
    echo "curl: $case" >&2
    # Replies stand in what --verbose tells.
    if said=$(curl --silent --show-error --verbose --url "$url" --cacert "$SMTP_CA" --user "$SMTP_USER:$SMTP_KEY" \
        --mail-from "$from" "$@" 2>&1); then
        accepted "$case" "$(printf '%s' "$said" | grep '^[<>]' | grep -B 1 '^< 5' | sed -n 's/^> RCPT TO:<\(.*\)>.*/\1/p')"
    else
        refused "$case" "$said"
    fi
}

starttls="smtp://$SMTP_HOST:$SMTP_STARTTLS_PORT"
file="$work/message"

message 'curl starttls' >"$file"
send starttls "$starttls" --ssl-reqd --mail-rcpt ann@example.net --upload-file "$file" --crlf

message 'curl tls' >"$file"
send tls "smtps://$SMTP_HOST:$SMTP_TLS_PORT" --mail-rcpt ann@example.net --upload-file "$file" --crlf

# With -F curl makes the parts; =( and =) enclose the alternatives.
binary
send attachment "$starttls" --ssl-reqd --mail-rcpt ann@example.net \
    --header "From: $encoded_from" --header 'To: ann@example.net' --header 'Subject: curl attachment' \
    --form '=(;type=multipart/alternative' \
    --form '=Your order is attached.;type=text/plain' --form '="<p>Your order is <b>attached</b>.</p>";type=text/html' \
    --form '=)' \
    --form "file=@$work/Grüße.bin;type=application/octet-stream;encoder=base64"

message 'curl many' 'undisclosed-recipients:;' >"$file"
# shellcheck disable=SC2046 # Each word is an option or a recipient.
send many "$starttls" --ssl-reqd $(printf -- '--mail-rcpt %s ' $fifty) --upload-file "$file" --crlf

message "$unicode_subject" ann@example.net 'Grüße 你好, 😀' >"$file"
send unicode "$starttls" --ssl-reqd --mail-rcpt ann@example.net --upload-file "$file" --crlf

message 'curl eai' jürgen@example.net >"$file"
send eai "$starttls" --ssl-reqd --mail-rcpt jürgen@example.net --upload-file "$file" --crlf

message 'curl partial' 'good@example.net, nobody@localhost' >"$file"
send partial "$starttls" --ssl-reqd --mail-rcpt good@example.net --mail-rcpt nobody@localhost --mail-rcpt-allowfails \
    --upload-file "$file" --crlf

message 'curl wrong-password' >"$file"
send wrong-password "$starttls" --ssl-reqd --mail-rcpt ann@example.net --upload-file "$file" --crlf \
    --user "$SMTP_USER:mw_live_wrong"

message 'curl no-tls' >"$file"
send no-tls "$starttls" --mail-rcpt ann@example.net --upload-file "$file" --crlf

message 'curl dots' ann@example.net "$dots" >"$file"
send dots "smtp://$SMTP_HOST:$SMTP_PLAIN_PORT" --mail-rcpt ann@example.net --upload-file "$file" --crlf

if [ -n "${SMTP_TOKEN:-}" ]; then
    message 'curl oauth' >"$file"
    send oauth "$starttls" --ssl-reqd --mail-rcpt ann@example.net --upload-file "$file" --crlf \
        --oauth2-bearer "$SMTP_TOKEN"
else
    unsupported oauth 'SMTP_TOKEN is empty'
fi
