"""With the client that openapi-python-client makes: a webhook with named events, and a message, made and read again."""

import os

from mailwright_client import AuthenticatedClient
from mailwright_client.api.messages import explain_message, get_message, get_raw_message
from mailwright_client.api.sending import send
from mailwright_client.api.webhooks import create_webhook, list_webhooks
from mailwright_client.models import (
    Accepted,
    Attachment,
    Explanation,
    MessageWithRecipients,
    Problem,
    ProblemType,
    SendRequest,
    WebhookCreate,
    WebhookEndpointPage,
    WebhookEndpointWithSecret,
    WebhookEventType,
)

client = AuthenticatedClient(
    base_url=os.environ["MAILWRIGHT_URL"], token=os.environ["MAILWRIGHT_KEY"], raise_on_unexpected_status=True
)

events = [WebhookEventType.MESSAGE_DELIVERED, WebhookEventType.MESSAGE_BOUNCED]
endpoint = create_webhook.sync(client=client, body=WebhookCreate(url="http://127.0.0.1:9/hook", events=events))
assert isinstance(endpoint, WebhookEndpointWithSecret), endpoint
assert endpoint.secret.startswith("whsec_") and endpoint.events == events, endpoint

page = list_webhooks.sync(client=client)
assert isinstance(page, WebhookEndpointPage), page
assert [(listed.id, listed.events) for listed in page.data] == [(endpoint.id, events)], page

request = SendRequest(
    from_="shop@example.org",
    to=["ann@example.net"],
    subject="Hello",
    text="It works.",
    attachments=[Attachment(filename="a.txt", content="YQ==")],
)
sent = send.sync(client=client, body=request)
assert isinstance(sent, Accepted), sent

read = get_message.sync(sent.id, client=client)
assert isinstance(read, MessageWithRecipients), read
assert read.subject == "Hello" and [recipient.email for recipient in read.recipients] == ["ann@example.net"], read

explained = explain_message.sync(sent.id, client=client)
assert isinstance(explained, Explanation) and explained.id == sent.id, explained

raw = get_raw_message.sync(sent.id, client=client)
assert b"Subject: Hello" in raw.payload.read()

absent = get_message.sync("msg_" + "0" * 32, client=client)
assert isinstance(absent, Problem) and absent.type_ is ProblemType.NOT_FOUND, absent
