#!/bin/sh
# Sends mail with swaks. Prints a line of JSON for each case.
set -u
name=swaks
. "$(dirname "$0")/lib.sh"

# send CASE PORT OPTION...
send() {
    case=$1 port=$2
    shift 2
    echo "swaks: $case" >&2
    if said=$(swaks --server "$SMTP_HOST:$port" --from "$from" --header "From: $encoded_from" --to ann@example.net \
        --auth PLAIN --auth-user "$SMTP_USER" --auth-password "$SMTP_KEY" --auth-hide-password \
        --header "Subject: swaks $case" --body Hello "$@" 2>&1); then
        # With --to of several, swaks goes on as long as one of them is accepted.
        accepted "$case" "$(printf '%s' "$said" | grep -B 1 '^<.\* 5' | sed -n 's/.*RCPT TO:<\(.*\)>.*/\1/p')"
    else
        # Stars mark what went wrong.
        refused "$case" "$(printf '%s' "$said" | grep -E '^(<.\*|\*\*\*)')"
    fi
}

# send_starttls CASE OPTION..., send_tls CASE OPTION...
send_starttls() {
    case=$1
    shift
    send "$case" "$SMTP_STARTTLS_PORT" --tls --tls-verify --tls-ca-path "$SMTP_CA" "$@"
}

send_starttls starttls
send tls "$SMTP_TLS_PORT" --tls-on-connect --tls-verify --tls-ca-path "$SMTP_CA"

binary
send_starttls attachment \
    --attach-type text/plain --attach-body 'Your order is attached.' \
    --attach-type text/html --attach-body '<p>Your order is <b>attached</b>.</p>' \
    --attach-type application/octet-stream --attach-name 'Grüße.bin' --attach "@$work/Grüße.bin"

send_starttls many --to "$(echo "$fifty" | paste -sd ,)"
send_starttls unicode --header "Subject: $unicode_subject" --body 'Grüße 你好, 😀' \
    --add-header 'MIME-Version: 1.0' --add-header 'Content-Type: text/plain; charset=UTF-8'
unsupported eai 'swaks never asks for SMTPUTF8'
send_starttls partial --to good@example.net,nobody@localhost
send_starttls wrong-password --auth-password mw_live_wrong
send no-tls "$SMTP_STARTTLS_PORT"
send dots "$SMTP_PLAIN_PORT" --body "$dots"
unsupported oauth 'swaks has no mechanism that takes a token'
