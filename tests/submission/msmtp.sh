#!/bin/sh
# Sends mail with msmtp. Prints a line of JSON for each case.
set -u
name=msmtp
. "$(dirname "$0")/lib.sh"

# An account for each way to send, as a user has them in ~/.msmtprc.
cat >"$work/msmtprc" <<END
defaults
host $SMTP_HOST
from $from
auth on
user $SMTP_USER
password $SMTP_KEY
tls on
tls_trust_file $SMTP_CA

account starttls
port $SMTP_STARTTLS_PORT

account tls
port $SMTP_TLS_PORT
tls_starttls off

account plain
port $SMTP_PLAIN_PORT
tls off
auth plain

account wrong-password : starttls
password mw_live_wrong

account no-tls : plain
port $SMTP_STARTTLS_PORT

account oauth : starttls
auth oauthbearer
password ${SMTP_TOKEN:-}
END
chmod 600 "$work/msmtprc"

# send CASE ACCOUNT RECIPIENT...: sends standard input.
send() {
    case=$1 account=$2
    shift 2
    echo "msmtp: $case" >&2
    if said=$(msmtp --file="$work/msmtprc" --account="$account" -- "$@" 2>&1); then
        accepted "$case"
    else
        refused "$case" "$said"
    fi
}

attachment() {
    binary
    header 'msmtp attachment' ann@example.net | sed 's/^Content-Type:.*/Content-Type: multipart\/mixed; boundary=outer/'
    cat <<'END'
--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=UTF-8

Your order is attached.

--inner
Content-Type: text/html; charset=UTF-8

<p>Your order is <b>attached</b>.</p>

--inner--
--outer
Content-Type: application/octet-stream
Content-Disposition: attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe.bin
Content-Transfer-Encoding: base64

END
    base64 "$work/Grüße.bin"
    echo --outer--
}

message 'msmtp starttls' | send starttls starttls ann@example.net
message 'msmtp tls' | send tls tls ann@example.net
attachment | send attachment starttls ann@example.net
# shellcheck disable=SC2086 # Each word is a recipient.
message 'msmtp many' 'undisclosed-recipients:;' | send many starttls $fifty
message "$unicode_subject" ann@example.net 'Grüße 你好, 😀' | send unicode starttls ann@example.net
unsupported eai 'msmtp never asks for SMTPUTF8'
message 'msmtp partial' 'good@example.net, nobody@localhost' | send partial starttls good@example.net nobody@localhost
message 'msmtp wrong-password' | send wrong-password wrong-password ann@example.net
message 'msmtp no-tls' | send no-tls no-tls ann@example.net
message 'msmtp dots' ann@example.net "$dots" | send dots plain ann@example.net
if [ -n "${SMTP_TOKEN:-}" ]; then
    message 'msmtp oauth' | send oauth oauth ann@example.net
else
    unsupported oauth 'SMTP_TOKEN is empty'
fi
