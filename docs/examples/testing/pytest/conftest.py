"""Mail in Mailwright's test inbox, as fixtures. Needs Python 3.8 or newer, and nothing but pytest."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest


class Mailwright:
    def __init__(self, url, key):
        self.url, self.key = url, key

    def call(self, method, path, body=None):
        """The JSON of an answer; fails with the problem when there is one."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            pytest.fail(f"{method} {path}: {error.code} {error.read().decode()}")

    def wait_for_mail(self, to, **more):
        """The newest mail to an address, with its text, html, codes and links. `more` narrows it: subject, since, q."""
        query = urllib.parse.urlencode({"to": to, "wait": "10s", "limit": 1, **more})
        copies = self.call("GET", f"/v1/sandbox/messages?{query}")["data"]
        if not copies:
            pytest.fail(f"no mail to {to} within 10 seconds")
        return self.call("GET", f"/v1/sandbox/messages/{copies[0]['id']}")


@pytest.fixture(scope="session")
def mailwright():
    return Mailwright(os.environ["MAILWRIGHT_URL"], os.environ["MAILWRIGHT_KEY"])


@pytest.fixture
def address():
    """An address for each test: tests can run side by side, and nobody has to empty the inbox."""
    return f"ada+{uuid.uuid4()}@example.test"
