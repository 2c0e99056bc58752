"""What schemathesis is told of this API: texts of the formats that openapi.yaml names, and values that no schema can say."""

import datetime
import re
import string
import uuid

import schemathesis
from hypothesis import strategies as st

LETTERS = string.ascii_letters + string.digits
# What a local part may hold unquoted (RFC 5321 §4.1.2, RFC 6531 §3.3), a dot not at its ends.
local_parts = st.text(LETTERS + "!#$%&'*+-/=?^_`{|}~é用", min_size=1, max_size=15)
labels = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20)
domains = st.builds(lambda label, top: f"{label}.{top}", labels, st.sampled_from(["example", "test", "例え"]))
emails = st.builds(lambda local, domain: f"{local}@{domain}", local_parts, domains)
names = st.text(LETTERS + " ", max_size=20)
headers = st.text(LETTERS + "-", min_size=1, max_size=30).map(lambda text: f"X-{text}")
tokens = st.text(LETTERS, min_size=1, max_size=20)

schemathesis.openapi.format("idn-email", emails)
schemathesis.openapi.format("idn-hostname", domains)
schemathesis.openapi.format("mailbox", emails | st.builds(lambda name, email: f"{name} <{email}>", tokens, emails))
schemathesis.openapi.format("media-type", st.builds(lambda a, b: f"{a}/{b}", st.just("x"), tokens))
schemathesis.openapi.format("text-type", tokens.map(lambda kind: f"text/x-{kind}"))
schemathesis.openapi.format("message-id", st.builds(lambda a, b: f"{a}@{b}", tokens, tokens))
schemathesis.openapi.format("web-origin", domains.map(lambda domain: f"https://{domain}"))
schemathesis.openapi.format("header-name", headers)
schemathesis.openapi.format("log-cursor", st.just("~"))
schemathesis.openapi.format("wait", st.sampled_from(["1ms", "5ms"]))
schemathesis.openapi.format("batch-id", tokens.map(lambda _: "bat_" + uuid.uuid4().hex))
schemathesis.openapi.format("message-cursor", tokens.map(lambda _: "msg_" + uuid.uuid4().hex))
# Loopback: nothing listens, and nobody outside is asked.
schemathesis.openapi.format("uri", tokens.map(lambda path: f"http://127.0.0.1:9/{path}"))


def is_instant(value):
    try:
        return datetime.datetime.fromisoformat(value.upper().replace("Z", "+00:00")).tzinfo is not None
    except (ValueError, AttributeError):
        return False


def made_to_fit(body):
    """A pool must be configured, an instant lie ahead, notices go to the author's domain: the schema cannot say so."""
    if isinstance(body, dict):
        # What must fit together in ways that no schema can say: each is played in a test of its own.
        for name in ("raw", "per_recipient", "idempotency_key"):
            if isinstance(body.get(name), (str, list)):
                del body[name]
                if name != "idempotency_key":
                    body["subject"] = body.get("subject") or "x"
                    body["text"] = body.get("text") or "x"
        if isinstance(body.get("attachments"), list):
            for file in body["attachments"]:
                if isinstance(file, dict) and not isinstance(file.get("content"), str):
                    file["content"] = "YQ=="
                if isinstance(file, dict) and not isinstance(file.get("filename"), str):
                    file["filename"] = "a.txt"
                if isinstance(file, dict) and isinstance(file.get("upload_id"), str):
                    del file["upload_id"]
        if isinstance(body.get("messages"), list) and body["messages"]:
            body["messages"] = [{"from": "a@example.org", "to": "b@example.test", "subject": "x", "text": "x"}]
        path, author = body.get("return_path"), body.get("from")
        author = author.get("email") if isinstance(author, dict) else author
        if isinstance(author, str) and isinstance(path, str) and re.fullmatch("[^@]+@[^@]+", path):
            body["return_path"] = path.split("@")[0] + "@" + author.rpartition("@")[2].rstrip("> ")
        # A test credential makes endpoints of test mail alone.
        if body.get("mode") in ("live", "both"):
            body["mode"] = "test"
        if isinstance(body.get("ip_pool"), str):
            body["ip_pool"] = "default"
        several = body.get("suppressions")
        for part in [body, *(several if isinstance(several, list) else [])]:
            for name, days in (("send_at", 1), ("expires_at", 2)):
                if isinstance(part, dict) and is_instant(part.get(name)):
                    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
                    part[name] = later.isoformat()
    return body


@schemathesis.hook
def map_body(context, body):
    return made_to_fit(body)


@schemathesis.hook
def map_case(context, case):
    """A key that was used with another body is refused, so that each request has one of its own."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch('"?[!-~]+"?', key):
        quote = '"' if len(key) > 2 and key[0] == key[-1] == '"' else ""
        inner = key[1:-1] if quote else key
        fresh = (uuid.uuid4().hex + inner)[: max(len(inner), 32)]
        case.headers["Idempotency-Key"] = quote + fresh + quote
    case.body = made_to_fit(case.body)
    return case
