"""Resend's own SDK for Python, against a service that speaks its language. Prints a line of JSON for each call.

MAILWRIGHT_BASE says where; MAILWRIGHT_KEY is the key.
"""

import json
import os

import resend

resend.api_url = os.environ["MAILWRIGHT_BASE"]
resend.api_key = os.environ["MAILWRIGHT_KEY"]


def say(call, work):
    try:
        result = {"data": work()}
    except resend.exceptions.ResendError as error:
        result = {"error": type(error).__name__, "code": error.code, "type": error.error_type, "message": error.message}
    print(json.dumps({"call": call, **result}, default=dict), flush=True)
    return result.get("data")


def plain(subject, **more):
    return {"from": "shop@example.org", "to": "ann@example.net", "subject": subject, "text": "Hello", **more}


sent = say("send", lambda: resend.Emails.send({
    "from": "Shop <shop@example.org>", "to": ["ann@example.net"], "cc": ["cyd@example.net"], "reply_to": "help@example.org",
    "subject": "Python whole", "html": "<p>Hello</p>", "headers": {"X-Entity-Ref-ID": "7"},
    "tags": [{"name": "kind", "value": "receipt"}],
    "attachments": [{"filename": "a.bin", "content": list(b"hello")}],
}, {"idempotency_key": "python-7"}))
say("get", lambda: resend.Emails.get(sent["id"]))
later = say("later", lambda: resend.Emails.send(plain("Python later", scheduled_at="in 1 hour")))
say("cancel", lambda: resend.Emails.cancel(later["id"]))
say("batch", lambda: resend.Batch.send([plain("Python one"), plain("Python two")]))
say("list", lambda: resend.Emails.list({"limit": 2}))
say("no from", lambda: resend.Emails.send({"to": "ann@example.net", "subject": "s", "text": "t"}))
say("bad to", lambda: resend.Emails.send(plain("s", to="nobody")))
resend.api_key = "mw_live_wrong"
say("wrong key", lambda: resend.Emails.send(plain("s")))
