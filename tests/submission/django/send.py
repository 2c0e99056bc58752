"""Sends mail with django.core.mail. Prints a line of JSON for each case."""

import json
import os
import smtplib
import sys

import django
from django.conf import settings
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives

# Django trusts the authorities that OpenSSL trusts; this is how OpenSSL is told of another one.
os.environ["SSL_CERT_FILE"] = os.environ["SMTP_CA"]

PLAIN = {"port": int(os.environ["SMTP_PLAIN_PORT"]), "use_tls": False}
TLS = {"port": int(os.environ["SMTP_TLS_PORT"]), "use_tls": False, "use_ssl": True}

settings.configure(
    EMAIL_HOST=os.environ["SMTP_HOST"],
    EMAIL_PORT=int(os.environ["SMTP_STARTTLS_PORT"]),
    EMAIL_USE_TLS=True,
    EMAIL_HOST_USER=os.environ["SMTP_USER"],
    EMAIL_HOST_PASSWORD=os.environ["SMTP_KEY"],
    DEFAULT_FROM_EMAIL="Jürgen Müller <shop@example.org>",
    USE_TZ=True,
)
django.setup()


def send(subject, body="Hello\n", to=("ann@example.net",), **connection):
    connection = mail.get_connection(**connection)
    EmailMessage(f"django {subject}", body, to=to, connection=connection).send()


def attachment():
    message = EmailMultiAlternatives("django attachment", "Your order is attached.\n", to=["ann@example.net"])
    message.attach_alternative("<p>Your order is <b>attached</b>.</p>\n", "text/html")
    data = bytes(i * 7 % 256 for i in range(200_000))
    message.attach("Grüße.bin", data, "application/octet-stream")
    message.send()


def eai():
    return {"outcome": "unsupported", "why": "Django writes a non-ASCII local part as an encoded word"}


def partial():
    send("partial", to=["good@example.net", "nobody@localhost"])
    # smtplib knows who was refused; Django does not hand it on.
    return {"why": "Django does not say who was refused"}


def oauth():
    return {"outcome": "unsupported", "why": "Django's SMTP backend has user and password only"}


CASES = {
    "starttls": lambda: send("starttls"),
    "tls": lambda: send("tls", **TLS),
    "attachment": attachment,
    "many": lambda: send("many", to=[f"r{i}@example.net" for i in range(50)]),
    "unicode": lambda: send("Grüße 你好", "Grüße 你好, 😀\n"),
    "eai": eai,
    "partial": partial,
    "wrong-password": lambda: send("wrong-password", password="mw_live_wrong"),
    "no-tls": lambda: send("no-tls", use_tls=False),
    "dots": lambda: send("dots", ".\n..\n.leading\n" + "A long paragraph. " * 300 + "\n", **PLAIN),
    "oauth": oauth,
}

for case, run in CASES.items():
    print(f"django: {case}", file=sys.stderr)
    try:
        result = {"outcome": "accepted", **(run() or {})}
    except smtplib.SMTPResponseException as error:
        result = {"outcome": "refused", "code": error.smtp_code, "text": error.smtp_error.decode()}
    except smtplib.SMTPException as error:
        result = {"outcome": "refused", "code": 0, "text": str(error)}
    print(json.dumps({"case": case, **result}, ensure_ascii=False), flush=True)
