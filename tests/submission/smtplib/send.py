#!/usr/bin/python3
"""Sends mail with Python's smtplib. Prints a line of JSON for each case."""

import json
import os
import smtplib
import ssl
import sys
from email.headerregistry import Address
from email.message import EmailMessage

HOST = os.environ["SMTP_HOST"]
PLAIN = int(os.environ["SMTP_PLAIN_PORT"])
STARTTLS = int(os.environ["SMTP_STARTTLS_PORT"])
TLS = int(os.environ["SMTP_TLS_PORT"])
USER = os.environ["SMTP_USER"]
KEY = os.environ["SMTP_KEY"]
TOKEN = os.environ.get("SMTP_TOKEN", "")
CONTEXT = ssl.create_default_context(cafile=os.environ["SMTP_CA"])


def connect(port, key=KEY):
    if port == TLS:
        server = smtplib.SMTP_SSL(HOST, port, context=CONTEXT)
    else:
        server = smtplib.SMTP(HOST, port)
    server.set_debuglevel(1 if "SMTP_DEBUG" in os.environ else 0)
    if port == STARTTLS:
        server.starttls(context=CONTEXT)
    if key is not None:
        server.login(USER, key)
    return server


def message(subject, body="Hello\n", to=("ann@example.net",)):
    mail = EmailMessage()
    mail["Subject"] = f"smtplib {subject}"
    mail["From"] = Address("Jürgen Müller", addr_spec="shop@example.org")
    mail["To"] = ", ".join(to)
    mail.set_content(body)
    return mail


def send(port, mail, **options):
    with connect(port, **options) as server:
        refused = server.send_message(mail)
    return {"refused": list(refused)} if refused else {}


def attachment():
    mail = message("attachment", "Your order is attached.\n")
    mail.add_alternative("<p>Your order is <b>attached</b>.</p>\n", subtype="html")
    data = bytes(i * 7 % 256 for i in range(200_000))
    mail.add_attachment(data, maintype="application", subtype="octet-stream", filename="Grüße.bin")
    return send(STARTTLS, mail)


def no_tls():
    with smtplib.SMTP(HOST, STARTTLS) as server:
        server.login(USER, KEY)
    return {}


def oauth():
    if not TOKEN:
        return {"outcome": "unsupported", "why": "SMTP_TOKEN is empty"}

    def xoauth2(challenge=None):
        # A second question is the reason of a refusal; an empty line answers it.
        return "" if challenge else f"user={USER}\x01auth=Bearer {TOKEN}\x01\x01"

    with connect(STARTTLS, key=None) as server:
        server.ehlo()
        server.auth("XOAUTH2", xoauth2)
        server.send_message(message("oauth"))
    return {}


CASES = {
    "starttls": lambda: send(STARTTLS, message("starttls")),
    "tls": lambda: send(TLS, message("tls")),
    "attachment": attachment,
    "many": lambda: send(STARTTLS, message("many", to=[f"r{i}@example.net" for i in range(50)])),
    "unicode": lambda: send(STARTTLS, message("Grüße 你好", "Grüße 你好, 😀\n")),
    "eai": lambda: send(STARTTLS, message("eai", to=["jürgen@example.net"])),
    "partial": lambda: send(STARTTLS, message("partial", to=["good@example.net", "nobody@localhost"])),
    "wrong-password": lambda: send(STARTTLS, message("wrong-password"), key="mw_live_wrong"),
    "no-tls": no_tls,
    "dots": lambda: send(PLAIN, message("dots", ".\n..\n.leading\n" + "A long paragraph. " * 300 + "\n")),
    "oauth": oauth,
}

for case, run in CASES.items():
    print(f"smtplib: {case}", file=sys.stderr)
    try:
        result = {"outcome": "accepted", **run()}
    except smtplib.SMTPResponseException as error:
        result = {"outcome": "refused", "code": error.smtp_code, "text": error.smtp_error.decode()}
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        result = {"outcome": "refused", "code": code, "text": text.decode()}
    except smtplib.SMTPException as error:
        result = {"outcome": "refused", "code": 0, "text": str(error)}
    print(json.dumps({"case": case, **result}, ensure_ascii=False), flush=True)
