"""SendGrid's own SDK for Python, against a service that speaks its language. Prints a line of JSON for each call.

MAILWRIGHT_BASE says where; MAILWRIGHT_KEY is the key, MAILWRIGHT_READER one that may only read.
"""

import base64
import json
import os
import time

from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers import mail as m

BASE = os.environ["MAILWRIGHT_BASE"]


def connected(key):
    return SendGridAPIClient(api_key=key, host=BASE)


sg = connected(os.environ["MAILWRIGHT_KEY"])


def say(call, work):
    data, told = None, None
    try:
        response = work()
        data = {"status": response.status_code, "id": response.headers["X-Message-Id"], "body": response.to_dict}
    except HTTPError as error:
        first = error.to_dict["errors"][0]
        told = {"class": type(error).__name__, "status": error.status_code, "code": error.reason, **first}
    print(json.dumps({"call": call, "data": data, "error": told}), flush=True)
    return data


def send(call, message, by=sg):
    return say(call, lambda: by.send(message))


def plain(subject, to="ann@example.net", **more):
    message = m.Mail(from_email="shop@example.org", to_emails=to, subject=subject, plain_text_content="Hello")
    for name, value in more.items():
        setattr(message, name, value)
    return message


whole = m.Mail(
    from_email=("shop@example.org", "Shop"), to_emails=[("ann@example.net", "Ann"), "bob@example.net"],
    subject="Python whole", plain_text_content="Hello", html_content="<p>Hello</p>",
    amp_html_content="<!doctype html><html amp4email></html>",
)
whole.add_cc("cyd@example.net")
whole.add_bcc(("dan@example.net", "Dan"))
whole.reply_to = ("help@example.org", "Help")
whole.header = m.Header("X-Entity-Ref-ID", "7")
whole.header = m.Header("X-Order", "7", p=0)
whole.category = [m.Category("receipts"), m.Category("shop")]
whole.custom_arg = [m.CustomArg("kind", "receipt"), m.CustomArg("order", "7", p=0)]
whole.attachment = [
    m.Attachment(base64.b64encode(b"hello").decode(), "a.bin", "application/octet-stream", "attachment"),
    m.Attachment("iVBORw0KGgo=", "logo.png", "image/png", "inline", "logo"),
]
whole.mail_settings = m.MailSettings(
    bypass_list_management=m.BypassListManagement(False), footer_settings=m.FooterSettings(False),
    sandbox_mode=m.SandBoxMode(False), spam_check=m.SpamCheck(False),
)
whole.tracking_settings = m.TrackingSettings(
    m.ClickTracking(False, False), m.OpenTracking(False), m.SubscriptionTracking(False), m.Ganalytics(False)
)
send("whole", whole)
send("each", m.Mail(
    from_email="shop@example.org", is_multiple=True, subject="Python each", plain_text_content="Hello",
    to_emails=[m.To("ann@example.net"), m.To("bob@example.net", subject="Python for Bob")],
))
replies = [m.ReplyTo("a@example.org"), m.ReplyTo("b@example.org", "B")]
send("reply to list", plain("Python replies", reply_to_list=replies))
send("group", plain("Python group", asm=m.Asm(m.GroupId(7))))
send("pool", plain("Python pool", ip_pool_name=m.IpPoolName("default")))
tracking = m.TrackingSettings(m.ClickTracking(True, True), m.OpenTracking(True))
send("tracked", plain("Python tracked", tracking_settings=tracking))
send("sandbox", plain("Python sandbox", mail_settings=m.MailSettings(sandbox_mode=m.SandBoxMode(True))))
templated = m.Mail(from_email="shop@example.org", to_emails="ann@example.net")
templated.template_id = "welcome"
templated.dynamic_template_data = {"name": "Ann"}
send("template", templated)

# A header of ours. Of a client of its own: this SDK sends a header with every later call of the same client, too.
once = connected(os.environ["MAILWRIGHT_KEY"])
key = {"Idempotency-Key": "python-7"}
for call, subject in [("once", "Python once"), ("once again", "Python once"), ("once another", "Python another")]:
    body = plain(subject).get()
    say(call, lambda: once.client.mail.send.post(request_body=body, request_headers=key))

batch = say("batch", lambda: sg.client.mail.batch.post())["body"]["batch_id"]
say("batch is there", lambda: sg.client.mail.batch._(batch).get())
soon = int(time.time()) + 3600
send("later", plain("Python later", send_at=soon, batch_id=m.BatchId(batch)))
send("later by one", plain("Python later by one", send_at=m.SendAt(soon, p=0), batch_id=m.BatchId(batch)))
sends = sg.client.user.scheduled_sends
say("pause", lambda: sends.post(request_body={"batch_id": batch, "status": "pause"}))
say("cancel", lambda: sends.post(request_body={"batch_id": batch, "status": "cancel"}))

bare = {"subject": "s", "content": [{"type": "text/plain", "value": "t"}]}
send("no from", {**bare, "personalizations": [{"to": [{"email": "ann@example.net"}]}]})
send("bad to", {**bare, "from": {"email": "shop@example.org"}, "personalizations": [{"to": [{"email": "nobody"}]}]})
send("footer", plain("s", mail_settings=m.MailSettings(footer_settings=m.FooterSettings(True, m.FooterText("Bye")))))
bcc = m.BccSettings(True, m.BccSettingsEmail("b@example.net"))
send("bcc setting", plain("s", mail_settings=m.MailSettings(bcc_settings=bcc)))
send("substitutions", plain("s", to=m.To("ann@example.net", substitutions={"-name-": "Ann"})))
send("groups", plain("s", asm=m.Asm(m.GroupId(7), m.GroupsToDisplay([7, 8]))))
say("put", lambda: sg.client.mail.send.put(request_body={}))
send("wrong key", plain("s"), connected("mw_live_wrong"))
send("reader", plain("s"), connected(os.environ["MAILWRIGHT_READER"]))

# Suppressions: those for bounces are there before.
everything = sg.client.asm.suppressions._("global")
say("unsubscribe", lambda: everything.post(request_body={"recipient_emails": ["gone@example.net"]}))
say("unsubscribed", lambda: everything._("gone@example.net").get())
say("resubscribe", lambda: everything._("gone@example.net").delete())
say("resubscribed", lambda: everything._("gone@example.net").get())
bounces = sg.client.suppression.bounces
say("bounces", lambda: bounces.get(query_params={"start_time": 1, "end_time": soon}))
say("bounce", lambda: bounces._("bounced@example.net").get())
say("remove bounce", lambda: bounces._("bounced@example.net").delete())
say("remove bounce again", lambda: bounces._("bounced@example.net").delete())
say("remove bounces", lambda: bounces.delete(request_body={"emails": ["second@example.net"]}))
say("blocks", lambda: sg.client.suppression.blocks.get())

lone = send("lone", plain("Python lone", to="lone@example.net"))
query = {"limit": 10, "query": f'msg_id="{lone["id"]}"'}
found = say("activity by id", lambda: sg.client.messages.get(query_params=query))
say("message", lambda: sg.client.messages._(found["body"]["messages"][0]["msg_id"]).get())
