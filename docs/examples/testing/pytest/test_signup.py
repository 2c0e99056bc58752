"""A sign-up by mail, tested: mailwright dev --ephemeral -- pytest"""

import secrets
import time
import uuid

import pytest


class Shop:
    """Stands for your application."""

    def __init__(self, mailwright):
        self.mailwright, self.codes = mailwright, {}

    def sign_up(self, address, **more):
        code = self.codes[address] = str(100_000 + secrets.randbelow(900_000))
        message = {
            "from": "Example Shop <shop@example.com>",
            "to": [address],
            "subject": "Your code",
            "text": f"Your code is {code}. It is good for ten minutes.",
        }
        return self.mailwright.call("POST", "/v1/send", {**message, **more})

    def confirm(self, address, code):
        return self.codes[address] == code


@pytest.fixture
def shop(mailwright):
    return Shop(mailwright)


def test_the_code_of_the_mail_confirms_the_address(shop, mailwright, address):
    shop.sign_up(address)
    mail = mailwright.wait_for_mail(address, subject="code")
    assert "ten minutes" in mail["text"]
    [code] = mail["codes"]
    assert shop.confirm(address, code)


def settled(mailwright, sent):
    """The message once its status is final."""
    for _ in range(100):
        message = mailwright.call("GET", f"/v1/messages/{sent['id']}")
        if message["status"] in ("delivered", "partially_delivered", "failed", "cancelled"):
            return message
        time.sleep(0.1)
    pytest.fail(f"not settled within 10 seconds: {message}")


def test_an_address_that_bounces(shop, mailwright):
    message = settled(mailwright, shop.sign_up(f"bounced+{uuid.uuid4()}@example.test"))
    assert message["status"] == "failed"
    assert message["recipients"][0]["status"] == "bounced"


def test_a_server_that_puts_mail_off(shop, mailwright, address):
    sent = shop.sign_up(address, sandbox={"script": "451*2,250"})
    for _ in range(2):  # as if an hour had passed
        mailwright.call("POST", "/v1/sandbox/clock", {"advance_seconds": 3600})
    mailwright.wait_for_mail(address)
    assert settled(mailwright, sent)["recipients"][0]["attempts"] == 3
