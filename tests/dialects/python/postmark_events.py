"""Postmark's own SDK for Python, and what it reads of what happened to mail. Prints a line of JSON for each call: what the SDK gave, or
raised.

MAILWRIGHT_BASE says where; MAILWRIGHT_KEY is the key; MAILWRIGHT_MESSAGE is a message that was opened and clicked.
"""

import json
import os

import email_validator
from postmark.models.bounces import BounceType
from postmark.sync import ServerClient

# The tests' own addresses are no addresses to the library that the SDK holds them against.
email_validator.SPECIAL_USE_DOMAIN_NAMES.remove("test")
sdk = ServerClient(os.environ["MAILWRIGHT_KEY"], base_url=os.environ["MAILWRIGHT_BASE"])


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "items") and hasattr(value, "total"):
        return {"items": plain(value.items), "total": value.total}
    return json.loads(value.model_dump_json(by_alias=True)) if hasattr(value, "model_dump_json") else value


def say(call, work, *arguments, **named):
    line = {"call": call, "data": None, "error": None}
    given = None
    try:
        given = work(*arguments, **named)
        line["data"] = plain(given)
    except Exception as error:
        code = getattr(error, "error_code", None)
        status = getattr(error, "http_status", None)
        line["error"] = {"class": type(error).__name__, "status": status, "code": code, "message": str(error)}
    print(json.dumps(line))
    return given


say("bounces", sdk.bounces.list)
say("stream", lambda: list(sdk.bounces.stream(batch_size=1)))
found = say("by type", sdk.bounces.list, type=BounceType.SPAM_COMPLAINT, inactive=True, tag="receipt")
say("get", sdk.bounces.get, found.items[0].id)
say("dump", sdk.bounces.get_dump, found.items[0].id)
say("activate", sdk.bounces.activate, found.items[0].id)
say("get nobody", sdk.bounces.get, 1)
say("opens", sdk.outbound.list_opens)
say("opens of a message", sdk.outbound.list_message_opens, os.environ["MAILWRIGHT_MESSAGE"])
say("clicks", sdk.outbound.list_clicks, recipient="ada@shop.test")
say("clicks of a message", sdk.outbound.list_message_clicks, os.environ["MAILWRIGHT_MESSAGE"])
