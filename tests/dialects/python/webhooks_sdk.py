"""Webhooks in the forms of other services, judged by what their own libraries for Python verify with: Mailgun's, Resend's, SendGrid's.

Standard input is {"requests": [{"form", "secret", "public_key", "headers", "body"}]}. Prints a line of JSON for each request of these
forms, with the event as who receives it gets it, and one for the same when it was changed on its way.
"""

import json
import sys

import resend
from mailgun.security import SecurityGuard
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader


class Refused(Exception):
    """The library says that it is not signed so."""


def mailgun(request):
    payload = json.loads(request["body"])
    if not SecurityGuard.verify_webhook(request["secret"], **payload["signature"]):
        raise Refused("the signature is wrong")
    return payload


def of_resend(request):
    headers = {name: request["headers"][f"svix-{name}"] for name in ("id", "timestamp", "signature")}
    return resend.Webhooks.verify({"payload": request["body"], "headers": headers, "webhook_secret": request["secret"]})


def sendgrid(request):
    signature, timestamp = (
        request["headers"][name.lower()] for name in (EventWebhookHeader.SIGNATURE, EventWebhookHeader.TIMESTAMP)
    )
    if not EventWebhook(request["public_key"]).verify_signature(request["body"], signature, timestamp):
        raise Refused("the signature is wrong")
    return json.loads(request["body"])


JUDGES = {"mailgun": mailgun, "resend": of_resend, "sendgrid": sendgrid}


def changed(request):
    if request["form"] != "mailgun":
        return {**request, "body": request["body"] + " "}
    # It signs its token, and not what is told.
    payload = json.loads(request["body"])
    payload["signature"]["token"] += "0"
    return {**request, "body": json.dumps(payload)}


def say(call, work, request):
    try:
        result = {"data": work(request), "error": None}
    except Exception as error:
        result = {"data": None, "error": {"class": type(error).__name__, "message": str(error)}}
    print(json.dumps({"call": call, **result}))


for index, request in enumerate(json.load(sys.stdin)["requests"]):
    judge = JUDGES.get(request["form"])
    if judge:
        say(f"{request['form']} {index}", judge, request)
        say(f"{request['form']} {index} changed", judge, changed(request))
