#!/bin/sh
# Verifies a webhook: its body is the input, its headers are in the environment as a web server hands them to a CGI program. Prints the
# event's type and the message's id; ends with 1 when the webhook is not the service's. Needs: openssl.
set -eu
: "${MAILWRIGHT_WEBHOOK_SECRET:?the secret that the creation of the endpoint answered}"
id=$HTTP_WEBHOOK_ID timestamp=$HTTP_WEBHOOK_TIMESTAMP

body=$(mktemp)
trap 'rm -f "$body"' EXIT
cat >"$body"
# openssl takes the key as an argument, which other users of the machine can see.
secret=$(printf '%s' "${MAILWRIGHT_WEBHOOK_SECRET#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')
wanted=$({ printf '%s.%s.' "$id" "$timestamp"; cat "$body"; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$secret" -binary | base64)
# There may be several signatures, while one secret replaces another.
case " $HTTP_WEBHOOK_SIGNATURE " in
    *" v1,$wanted "*) ;;
    *) echo "the signature is wrong" >&2; exit 1 ;;
esac
age=$(($(date +%s) - timestamp))
if [ "${age#-}" -gt 300 ]; then echo "the webhook is too old" >&2; exit 1; fi

type=$(sed -n '1s/^{"type":"\([^"]*\)".*/\1/p' "$body")
echo "$type $(grep -o '"message_id":"[^"]*' "$body" | head -n 1 | cut -d '"' -f 4)"
