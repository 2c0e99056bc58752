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
scripts = st.sampled_from(["250", "451*2,250", "550 5.1.1", "250; dsn 5.2.2 after 5s", "250; complain", "drop after dot, 250"])
schemathesis.openapi.format("sandbox-script", scripts)
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


def ahead(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).isoformat()


def is_name(value):
    return isinstance(value, str) and re.fullmatch("[A-Za-z0-9_.-]{1,64}", value)


def is_unsubscribe(value):
    return isinstance(value, dict) and set(value) == {"stream"} and is_name(value["stream"])


def is_tracking(value):
    if not isinstance(value, dict) or not set(value) <= {"opens", "clicks"}:
        return False
    return all(part is None or isinstance(part, bool) for part in value.values())


def made_to_fit(body):
    """A pool must be configured, an instant lie ahead, notices go to the author's domain: the schema cannot say so."""
    if isinstance(body, dict):
        # What must fit together in ways that no schema can say: each is played in a test of its own.
        for name in ("raw", "per_recipient", "idempotency_key", "template"):
            if isinstance(body.get(name), (str, list, dict)):
                del body[name]
                if name != "idempotency_key":
                    body["subject"] = body.get("subject") or "x"
                    body["text"] = body.get("text") or "x"
        # The same; what is wrong by itself stays, and is refused.
        for name, is_right in (("domain_pool", is_name), ("unsubscribe", is_unsubscribe), ("tracking", is_tracking)):
            if is_right(body.get(name)):
                del body[name]
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
                    part[name] = ahead(days)
        # Of a message that ends before, both are changed.
        if set(body) <= {"send_at", "expires_at"} and is_instant(body.get("send_at")) and body.get("expires_at") is None:
            body["expires_at"] = ahead(2)
    return body


LOCALE = re.compile("[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")
ALIAS = re.compile("[a-z0-9][a-z0-9._-]{0,63}")
# The variables of the starters, and of the examples.
VARIABLES = dict.fromkeys("name product code minutes service title severity time summary url".split(), "x")


def is_counting(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1 and value == value // 1


def are_parts(parts):
    names = {"subject", "text", "html", "mjml"}
    return parts is None or (
        isinstance(parts, dict)
        and set(parts) <= names
        and all(part is None or isinstance(part, str) for part in parts.values())
    )


def template_made_to_fit(path, body):
    """An alias must be free, a source be in the language of templates, what it needs be given: the schema cannot say so."""
    if not isinstance(body, dict):
        return body
    if path.endswith("/render"):
        if body.get("variables") is None or isinstance(body["variables"], dict):
            body["variables"] = dict(VARIABLES)
        if is_counting(body.get("version")):
            body["version"] = "draft"
        if isinstance(body.get("version"), str) and re.fullmatch("[1-9][0-9]{0,8}|draft|published", body["version"]):
            body["version"] = "draft"
        return body
    if is_counting(body.get("version")):
        body["version"] = 1
    if isinstance(body.get("alias"), str) and ALIAS.fullmatch(body["alias"]):
        body["alias"] = "a" + uuid.uuid4().hex
    if isinstance(body.get("starter"), str):
        body["starter"] = "alert"
    if isinstance(body.get("samples"), dict):
        body["samples"] = {}
    locale, locales = body.get("default_locale"), body.get("locales")
    if isinstance(locale, str) and LOCALE.fullmatch(locale) and len(locale) <= 35:
        body["default_locale"] = "en"
    if isinstance(locales, dict) and all(LOCALE.fullmatch(tag) and len(tag) <= 35 for tag in locales):
        if all(are_parts(parts) for parts in locales.values()):
            body["locales"] = {"en": {"text": "x"}}
    # A creation needs both, or a starter.
    if path == "/v1/templates" and not {"alias", "locales"} <= {name for name in body if body[name] is not None}:
        if body.get("starter") is None:
            body["starter"] = "alert"
        if body.get("alias") is None:
            body["alias"] = "a" + uuid.uuid4().hex
    return body


def replay_made_to_fit(body):
    """Events are named, or a span that is over: the schema cannot say so."""
    if not isinstance(body, dict):
        return body
    for name, days in (("since", -2), ("until", -1)):
        if is_instant(body.get(name)):
            body[name] = ahead(days)
    if isinstance(body.get("event_ids"), list):
        for name in ("since", "until", "types", "status"):
            body.pop(name, None)
    elif body.get("event_ids") is None and body.get("since") is None:
        body["since"] = ahead(-2)
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
    # The span that is counted is short, and does not end before it begins.
    if case.operation.path == "/v1/stats" and case.query:
        for name, days in (("since", -2), ("until", -1)):
            if is_instant(case.query.get(name)):
                case.query[name] = ahead(days)
    return case


@schemathesis.hook
def before_call(context, case, kwargs):
    """Examples and links come by no other way."""
    if case.operation.path.endswith("/replay"):
        case.body = replay_made_to_fit(case.body)
    if case.operation.path.startswith("/v1/templates"):
        case.body = template_made_to_fit(case.operation.path, case.body)
