"""Verifies a webhook: its body is the input, its headers are in the environment as a web server hands them to a CGI program.

Prints the event's type and the message's id; ends with 1 when the webhook is not the service's. Needs Python 3.8 or newer."""

import base64
import hashlib
import hmac
import json
import os
import sys
import time


def verify(secret, webhook_id, timestamp, signatures, body):
    """The event of a webhook that the service sent; ValueError for any other. `body` is what came, byte for byte."""
    key = base64.b64decode(secret[len("whsec_"):])
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    # There may be several signatures, while one secret replaces another.
    if not any(hmac.compare_digest(wanted.encode(), given.encode()) for given in signatures.split(" ")):
        raise ValueError("the signature is wrong")
    if abs(time.time() - int(timestamp)) > 300:
        raise ValueError("the webhook is too old")
    return json.loads(body)


try:
    event = verify(
        os.environ["MAILWRIGHT_WEBHOOK_SECRET"],
        os.environ["HTTP_WEBHOOK_ID"],
        os.environ["HTTP_WEBHOOK_TIMESTAMP"],
        os.environ["HTTP_WEBHOOK_SIGNATURE"],
        sys.stdin.buffer.read(),
    )
except ValueError as why:
    sys.exit(str(why))
print(event["type"], event["data"].get("message_id"))
