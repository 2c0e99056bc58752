"""Postmark's own SDK for Python, against a service that speaks its language. Prints a line of JSON for each call.

MAILWRIGHT_BASE says where; MAILWRIGHT_KEY is the key.
"""

import json
import os
from datetime import datetime

import postmark
from postmark.models.suppressions import SuppressionReason

BASE = os.environ["MAILWRIGHT_BASE"]


def client(key):
    return postmark.sync.ServerClient(key, retries=0, timeout=60, base_url=BASE)


def plainly(data):
    if hasattr(data, "model_dump"):
        return data.model_dump(mode="json", by_alias=True)
    if isinstance(data, postmark.Page):
        return {"total": data.total, "items": plainly(data.items)}
    return [plainly(item) for item in data] if isinstance(data, list) else data


def say(call, work, *arguments, **named):
    line = {"call": call, "data": None, "error": None}
    data = None
    try:
        data = work(*arguments, **named)
        line["data"] = plainly(data)
    # What the SDK cannot read is none of its own exceptions.
    except Exception as error:
        line["error"] = {
            "class": type(error).__name__,
            "status": getattr(error, "http_status", None),
            "code": getattr(error, "error_code", None),
            "message": getattr(error, "message", str(error)),
            "recipients": getattr(error, "inactive_recipients", None),
        }
    print(json.dumps(line), flush=True)
    return data


def plain(subject, **more):
    return {"sender": "shop@example.org", "to": "ann@example.net", "subject": subject, "text_body": "Hello", **more}


def template(**more):
    return {"sender": "shop@example.org", "to": "ann@example.net", "template_model": {"name": "Ann"}, **more}


sdk = client(os.environ["MAILWRIGHT_KEY"])
outbound = sdk.outbound
sent = say("send", outbound.send, {
    "sender": "Shop <shop@example.org>", "to": "Ann <ann@example.net>, bob@example.net", "cc": "cyd@example.net", "bcc": "dan@example.net",
    "reply_to": "help@example.org", "subject": "Python whole", "html_body": "<p>Hello</p>", "text_body": "Hello", "tag": "receipt",
    "metadata": {"order": "7"}, "headers": [{"name": "X-Entity-Ref-ID", "value": "7"}],
    "attachments": [
        {"name": "Grüße.txt", "content": "aGVsbG8=", "content_type": "text/plain", "content_length": 5},
        {"name": "logo.png", "content": "iVBORw0KGgo=", "content_type": "image/png", "content_id": "cid:logo"},
    ],
    "track_opens": False, "track_links": "None", "message_stream": "outbound",
})
say("class", outbound.send, postmark.Email(sender="shop@example.org", to="ann@example.net", subject="Python class", text_body="Hello"))
say("no subject", outbound.send, {"sender": "shop@example.org", "to": "ann@example.net", "text_body": "Hello", "tag": "bare"})
say("tracked", outbound.send, plain("Python tracked", html_body="<p>Hello</p>", track_opens=True, track_links="HtmlAndText"))
say("batch", outbound.send_batch, [plain("Python one"), plain("Python two", to="nobody"), plain("Python three")])
say("template", outbound.send_with_template, template(template_alias="welcome", inline_css=False))
say("templates", outbound.send_batch_with_template, [
    template(template_alias="welcome", template_model={"name": "Cyd"}), template(template_alias="nowhere"),
])

say("get", outbound.get, sent.message_id if sent else "none")
say("dump", outbound.get_dump, sent.message_id if sent else "none")
say("list", outbound.list)
say("stream", outbound.stream, batch_size=2)
say("by tag", outbound.list, tag="receipt", from_email="shop@example.org", recipient="bob@example.net")
say("by metadata", outbound.list, metadata={"order": "7"}, message_stream="outbound", status="sent")
say("by time", outbound.list, from_date=datetime(2000, 1, 1), to_date=datetime(2000, 1, 2))
say("get nobody", outbound.get, "00000000-0000-7000-8000-000000000000")

say("bad to", outbound.send, plain("s", to="nobody"))
say("text only", outbound.send, plain("s", track_links="TextOnly"))
say("template number", outbound.send_with_template, template(template_id=1234))
say("template nowhere", outbound.send_with_template, template(template_alias="nowhere"))
say("wrong key", client("mw_live_wrong").outbound.send, plain("s"))
say("reader", client(os.environ["MAILWRIGHT_READER"]).outbound.send, plain("s"))
say("bounce counts", sdk.bounces.get_delivery_stats)

gone = ["gone@example.net", "away@example.net"]
say("suppress", sdk.suppressions.create, "outbound", gone)
say("suppressions", sdk.suppressions.dump, "outbound", suppression_reason=SuppressionReason.MANUAL_SUPPRESSION, from_date=datetime(2000, 1, 1))
say("suppression", sdk.suppressions.dump, "outbound", email_address="gone@example.net")
say("to suppressed", outbound.send, plain("s", to="gone@example.net", cc="away@example.net"))
say("partly suppressed", outbound.send, plain("Python partly", to="gone@example.net, ann@example.net"))
say("batch suppressed", outbound.send_batch, [plain("s", to="gone@example.net"), plain("Python four")])
say("unsuppress", sdk.suppressions.delete, "outbound", gone)
say("suppressions left", sdk.suppressions.dump, "outbound")
