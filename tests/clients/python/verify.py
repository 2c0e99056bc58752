"""Verifies a webhook with the public library. Standard input is {"secret", "headers", "body"}."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

asked = json.load(sys.stdin)
hook = Webhook(asked["secret"])
hook.verify(asked["body"], asked["headers"])
for body, headers in (
    (asked["body"] + " ", asked["headers"]),
    (asked["body"], {**asked["headers"], "webhook-id": "evt_1"}),
):
    try:
        hook.verify(body, headers)
    except WebhookVerificationError:
        continue
    sys.exit("what was changed is believed")
print("verified")
