"""Mailgun's own SDK for Python, against a service that speaks its language. Prints a line of JSON for each call.

MAILWRIGHT_BASE says where; MAILWRIGHT_KEY and MAILWRIGHT_READER are the keys. The SDK raises nothing for what is refused: it gives the
response, and only `stream` raises. An answer of 400 and above is printed as an error without a class.
"""

import asyncio
import json
import os
import tempfile
import time
from email.utils import formatdate
from pathlib import Path

from mailgun.builders import MailgunMessageBuilder
from mailgun.client import AsyncClient, Client
from mailgun.config import RetryPolicy
from mailgun.handlers.error_handler import ApiError

DOMAIN = "example.org"
PLACE = {"api_url": os.environ["MAILWRIGHT_BASE"], "retry_policy": RetryPolicy(max_retries=0)}


def client(key):
    return Client(auth=("api", key), **PLACE)


def read(response):
    if response.status_code < 400:
        return {"data": response.json(), "error": None}
    return {"data": None, "error": {"class": None, "status": response.status_code, "message": response.json().get("message")}}


def say(call, work):
    try:
        result = work()
        result = read(result) if hasattr(result, "status_code") else {"data": result, "error": None}
    except (ApiError, ValueError) as error:
        response = error.args[0] if error.args else None
        status = getattr(response, "status_code", None)
        message = response.json()["message"] if status else str(error)
        result = {"data": None, "error": {"class": type(error).__name__, "status": status, "message": message}}
    print(json.dumps({"call": call, **result}), flush=True)
    return result["data"]


def plain(subject, **more):
    return {"from": "shop@example.org", "to": "ann@example.net", "subject": subject, "text": "Hello", **more}


def send(call, data, files=None, key=os.environ["MAILWRIGHT_KEY"]):
    with client(key) as by:
        return say(call, lambda: by.messages.create(data=data, files=files, domain=DOMAIN))


mailgun = client(os.environ["MAILWRIGHT_KEY"])

sent = send("send", {
    "from": "Shop <shop@example.org>", "to": ["Ann <ann@example.net>", "bob@example.net"], "cc": "cyd@example.net",
    "bcc": "dan@example.net", "subject": "Python whole", "text": "Hello", "html": "<p>Hello <img src=\"cid:logo.png\"></p>",
    "o:tag": ["receipt", "spring"], "o:tracking": False, "h:X-Entity-Ref-ID": "7",
    "h:Reply-To": "help@example.org", "v:kind": "receipt",
}, [("attachment", ("Grüße.txt", b"hello")), ("attachment", ("a.bin", b"\x00\x01")), ("inline", ("logo.png", b"PNG", "image/png"))])
send("send by form", plain("Python form", **{"o:tag": ["receipt", "spring"], "o:require-tls": True, "v:kind": "receipt"}))
send("later", plain("Python later", **{"o:deliverytime": formatdate(time.time() + 3600)}))
send("template", {
    "from": "shop@example.org", "to": "ann@example.net", "template": "welcome", "t:variables": json.dumps({"name": "Ann"}),
})
send("batch", plain(
    "Python for %recipient.name%", to=["ann@example.net", "bob@example.net"],
    **{"recipient-variables": json.dumps({"ann@example.net": {"name": "Ann"}, "bob@example.net": {"name": "Bob"}})},
))
mime = b"From: shop@example.org\r\nTo: ann@example.net\r\nSubject: Python MIME\r\n\r\nHello\r\n"
say("mime", lambda: mailgun.mimemessage.create(
    data={"to": "ann@example.net", "o:tag": "raw"}, files={"message": mime}, domain=DOMAIN,
))
with tempfile.TemporaryDirectory() as directory:
    logo, note = Path(directory, "logo.png"), Path(directory, "note.txt")
    logo.write_bytes(b"PNG")
    note.write_bytes(b"hello")
    builder = MailgunMessageBuilder("shop@example.org").add_recipient("ann@example.net").add_recipient("bob@example.net")
    # The builder writes an `X-Idempotency-Key` of its own, by what the message says.
    builder.set_subject("Python built").set_text("Hello").set_html("<img src=\"cid:logo\">").add_option("tag", value="built")
    builder.add_custom_variable("order", {"id": 7}).add_custom_header("X-Entity-Ref-ID", "7").add_option("tracking", value=False)
    data, files = builder.attach_file(note).attach_inline(logo, cid="logo").build()
send("built", data, files)


async def asynchronous():
    async with AsyncClient(auth=("api", os.environ["MAILWRIGHT_KEY"]), **PLACE) as by:
        data = plain("Python async", **{"o:tag": ["receipt", "spring"], "o:tracking": False})
        return await by.messages.create(data=data, files=[("attachment", ("Grüße.txt", b"hello"))], domain=DOMAIN)


say("async", lambda: asyncio.run(asynchronous()))

# What is refused.
send("no from", {"to": "ann@example.net", "subject": "s", "text": "t"})
send("bad to", plain("s", to="nobody"))
send("test mode", plain("s", **{"o:testmode": True}))
send("wrong key", plain("s"), key="mw_live_wrong")
send("reader", plain("s"), key=os.environ["MAILWRIGHT_READER"])
with client("mw_live_wrong") as wrong:
    say("stream with wrong key", lambda: list(wrong.events.stream(domain=DOMAIN)))

# Events, asked for until what is awaited is there.
query = {"event": "delivered", "message-id": sent["id"].strip("<>") if sent else ""}
for _ in range(500):
    found = mailgun.events.get(domain=DOMAIN, filters=query)
    if found.status_code != 200 or len(found.json()["items"]) >= 4:
        break
say("delivered", lambda: mailgun.events.get(domain=DOMAIN, filters=query))
say("stream", lambda: list(mailgun.events.stream(domain=DOMAIN, filters={**query, "limit": 2})))

# Suppressions: by form, as a list of JSON, and as one object of JSON.
as_json = {"Content-Type": "application/json"}
say("bounce", lambda: mailgun.bounces.create(
    data={"address": "gone@example.net", "code": 550, "error": "No such user"}, domain=DOMAIN,
))
say("bounces", lambda: mailgun.bounces.create(
    data=[{"address": "a@example.net", "code": "550"}, {"address": "b@example.net"}], domain=DOMAIN, headers=as_json,
))
say("bounce as JSON", lambda: mailgun.bounces.create(data={"address": "c@example.net"}, domain=DOMAIN, headers=as_json))
say("get bounce", lambda: mailgun.bounces.get(domain=DOMAIN, bounce_address="gone@example.net"))
say("list bounces", lambda: mailgun.bounces.get(domain=DOMAIN, filters={"limit": 2}))
say("stream bounces", lambda: list(mailgun.bounces.stream(domain=DOMAIN, filters={"limit": 1})))
say("complaint", lambda: mailgun.complaints.create(data={"address": "angry@example.net"}, domain=DOMAIN))
say("unsubscribe", lambda: mailgun.unsubscribes.create(data={"address": "tired@example.net", "tag": "*"}, domain=DOMAIN))
say("get unsubscribe", lambda: mailgun.unsubscribes.get(domain=DOMAIN, unsubscribe_address="tired@example.net"))
say("delete bounce", lambda: mailgun.bounces.delete(domain=DOMAIN, bounce_address="gone@example.net"))
say("delete complaint", lambda: mailgun.complaints.delete(domain=DOMAIN, complaint_address="angry@example.net"))
say("delete unsubscribe", lambda: mailgun.unsubscribes.delete(domain=DOMAIN, unsubscribe_address="tired@example.net"))
say("bounce is gone", lambda: mailgun.bounces.get(domain=DOMAIN, bounce_address="gone@example.net"))
say("delete all", lambda: mailgun.bounces.delete(domain=DOMAIN))
say("allowed", lambda: mailgun.whitelists.get(domain=DOMAIN))
mailgun.close()
