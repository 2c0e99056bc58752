#!/bin/sh
# Sends a message with curl, with the file of the first argument attached if there is one, and waits for what becomes of it.
# Prints the message's id and status; ends with 0 when it was delivered. Needs: curl 7.71 or newer, base64.
set -eu
: "${MAILWRIGHT_URL:?the service, such as http://127.0.0.1:8080}" "${MAILWRIGHT_KEY:?an API key}"

call() { curl --silent --show-error --max-time 30 --header "Authorization: Bearer $MAILWRIGHT_KEY" "$@"; }

attachments=
if [ $# -gt 0 ]; then
    attachments=", \"attachments\": [{\"filename\": \"$(basename "$1")\", \"content\": \"$(base64 <"$1" | tr -d '\n')\"}]"
fi
# Names what the message is about, so that it is sent once: in your program the order's number, for example.
key="example-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"

# --retry: after 429 and 503, when `Retry-After` says; --retry-all-errors: after no answer, too. Always with the same key.
answer=$(call --retry 4 --retry-all-errors --write-out '\n%{http_code}' "$MAILWRIGHT_URL/v1/send" \
    --header 'Content-Type: application/json' --header "Idempotency-Key: $key" --data-binary @- <<JSON
{"from": "Example Shop <shop@example.com>", "to": ["ada@example.net"], "subject": "Your receipt",
 "text": "Thank you for your order.", "tags": ["receipt"]$attachments}
JSON
)
case $answer in
    *'
202') ;;
    *) echo "not sent: $answer" >&2; exit 1 ;;
esac
id=$(printf '%s' "$answer" | grep -o 'msg_[0-9a-f]*' | head -n 1)

tries=0
while :; do
    # The answer begins with the message's own id and status.
    status=$(call "$MAILWRIGHT_URL/v1/messages/$id" | sed -n '1s/^{"id":"[^"]*","status":"\([^"]*\)".*/\1/p')
    case $status in delivered | partially_delivered | failed | cancelled) break ;; esac
    tries=$((tries + 1))
    [ $tries -lt 60 ] || break
    sleep 1
done
echo "$id $status"
[ "$status" = delivered ]
