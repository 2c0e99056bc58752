"""AWS's own SDK for Python (SES v2 of boto3), against a service that speaks its language. Prints a line of JSON for each call.

MAILWRIGHT_BASE says where; MAILWRIGHT_KEY_ID and MAILWRIGHT_KEY are the access key.
"""

import json
import os
from datetime import datetime, timedelta, timezone

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BASE = os.environ["MAILWRIGHT_BASE"]


def client(key, secret):
    return boto3.client(
        "sesv2", endpoint_url=BASE, region_name="eu-central-1", aws_access_key_id=key, aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


everything = client(os.environ["MAILWRIGHT_KEY_ID"], os.environ["MAILWRIGHT_KEY"])


def say(call, work):
    data, error = None, None
    try:
        data = work()
        about = data.pop("ResponseMetadata")
        data.update(status=about["HTTPStatusCode"], request=about.get("RequestId"))
    except ClientError as thrown:
        about = thrown.response["ResponseMetadata"]
        error = {
            "class": type(thrown).__name__, "code": thrown.response["Error"]["Code"], "status": about["HTTPStatusCode"],
            "request": about.get("RequestId"), "message": thrown.response["Error"]["Message"],
        }
    except BotoCoreError as thrown:
        error = {"class": type(thrown).__name__, "message": str(thrown)}
    print(json.dumps({"call": call, "data": data, "error": error}, default=lambda value: value.timestamp()), flush=True)
    return data or {}


def plain(subject, **more):
    return {
        "FromEmailAddress": "shop@example.org",
        "Destination": {"ToAddresses": ["ann@example.net"]},
        "Content": {"Simple": {"Subject": {"Data": subject}, "Body": {"Text": {"Data": "Hello"}}}},
        **more,
    }


def send(call, message, by=everything):
    return say(call, lambda: by.send_email(**message))


sent = send("send", {
    "FromEmailAddress": "Shop <shop@example.org>",
    "Destination": {"ToAddresses": ["ann@example.net"], "CcAddresses": ["cyd@example.net"], "BccAddresses": ["dan@example.net"]},
    "ReplyToAddresses": ["help@example.org"],
    "Content": {"Simple": {
        "Subject": {"Data": "SES in Python"},
        "Body": {"Text": {"Data": "Hello"}, "Html": {"Data": "<p>Hello</p>"}},
        "Headers": [{"Name": "X-Entity-Ref-ID", "Value": "7"}],
        "Attachments": [{"FileName": "a.bin", "RawContent": b"hello", "ContentType": "application/octet-stream"}],
    }},
    "EmailTags": [{"Name": "kind", "Value": "receipt"}],
    "ConfigurationSetName": "shop",
})
raw = b"From: shop@example.org\nTo: ann@example.net\nCc: cyd@example.net\nSubject: SES raw in Python\n\nRaw hello\n"
send("raw", {"Content": {"Raw": {"Data": raw}}})
welcome = {"Template": {"TemplateName": "welcome", "TemplateData": json.dumps({"name": "Ann"})}}
send("template", plain("", Content=welcome))
bulk = {"FromEmailAddress": "shop@example.org", "DefaultContent": welcome}
say("bulk", lambda: everything.send_bulk_email(**bulk, BulkEmailEntries=[
    {"Destination": {"ToAddresses": ["bea@example.net"]},
     "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": json.dumps({"name": "Bea"})}}},
    {"Destination": {"ToAddresses": ["nobody"]}},
]))
say("insights", lambda: everything.get_message_insights(MessageId=sent["MessageId"]))
say("account", lambda: everything.get_account())

# What is refused, by the class that the SDK has for it.
send("bad to", plain("s", Destination={"ToAddresses": ["nobody"]}))
send("tenant", plain("s", TenantName="tenant"))
send("no template", plain("", Content={"Template": {"TemplateName": "nowhere", "TemplateData": "{}"}}))
send("no content", {"FromEmailAddress": "shop@example.org"})
say("insights nobody", lambda: everything.get_message_insights(MessageId="00000000-0000-7000-8000-000000000000"))
send("wrong key", plain("s"), client(os.environ["MAILWRIGHT_KEY_ID"], "mw_live_wrong"))
send("unknown key", plain("s"), client("AKIAIOSFODNN7EXAMPLE", os.environ["MAILWRIGHT_KEY"]))
send("reader", plain("s"), client(os.environ["MAILWRIGHT_READER_ID"], os.environ["MAILWRIGHT_READER"]))

gone, now = "gone+1@example.net", datetime.now(timezone.utc)
say("suppress", lambda: everything.put_suppressed_destination(EmailAddress=gone, Reason="BOUNCE"))
say("suppressed", lambda: everything.get_suppressed_destination(EmailAddress=gone))
say("suppressions", lambda: everything.list_suppressed_destinations(
    Reasons=["BOUNCE", "COMPLAINT"], StartDate=now - timedelta(hours=1), EndDate=now + timedelta(hours=1), PageSize=10,
))
say("unsuppress", lambda: everything.delete_suppressed_destination(EmailAddress=gone))
say("suppressed no more", lambda: everything.get_suppressed_destination(EmailAddress=gone))
