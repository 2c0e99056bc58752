"""A stock Django project whose users reset their passwords: django.contrib.auth writes the mail and sends it.

Prints a line of JSON for each of the ports that Django can be given by EMAIL_ settings.
"""

import json
import logging
import os
import smtplib
import sys

import django
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from django.test.utils import override_settings
from django.urls import include, path

# Django trusts the authorities that OpenSSL trusts; this is how OpenSSL is told of another one.
os.environ["SSL_CERT_FILE"] = os.environ["SMTP_CA"]

settings.configure(
    SECRET_KEY="not a secret",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["shop.example.org"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.messages", "django.contrib.sessions"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    USE_TZ=True,
    EMAIL_HOST=os.environ["SMTP_HOST"],
    EMAIL_HOST_USER=os.environ["SMTP_USER"],
    EMAIL_HOST_PASSWORD=os.environ["SMTP_KEY"],
    DEFAULT_FROM_EMAIL="Jürgen Müller <shop@example.org>",
)
django.setup()

urlpatterns = [path("accounts/", include("django.contrib.auth.urls"))]

CASES = {
    "reset-plain": {"EMAIL_PORT": int(os.environ["SMTP_PLAIN_PORT"])},
    "reset-starttls": {"EMAIL_PORT": int(os.environ["SMTP_STARTTLS_PORT"]), "EMAIL_USE_TLS": True},
    "reset-tls": {"EMAIL_PORT": int(os.environ["SMTP_TLS_PORT"]), "EMAIL_USE_SSL": True},
    "reset-no-tls": {"EMAIL_PORT": int(os.environ["SMTP_STARTTLS_PORT"])},
}


class Failures(logging.Handler):
    """Django never tells a visitor that a mail failed: it logs it."""

    def emit(self, record):
        self.error = record.exc_info[1]


def reset(failures):
    failures.error = None
    page = Client(SERVER_NAME="shop.example.org").post("/accounts/password_reset/", {"email": "ann@example.net"})
    assert page.status_code == 302 and page.url == "/accounts/password_reset/done/", page
    error = failures.error
    if error is None:
        return {"outcome": "accepted"}
    if isinstance(error, smtplib.SMTPResponseException):
        return {"outcome": "refused", "code": error.smtp_code, "text": error.smtp_error.decode()}
    return {"outcome": "refused", "code": 0, "text": str(error)}


call_command("migrate", verbosity=0)
from django.contrib.auth.models import User

User.objects.create_user("ann", "ann@example.net", "forgotten")
failures = Failures()
logging.getLogger("django.contrib.auth").addHandler(failures)
for case, email in CASES.items():
    print(f"django: {case}", file=sys.stderr)
    with override_settings(**email):
        print(json.dumps({"case": case, **reset(failures)}, ensure_ascii=False), flush=True)
