"""Reads the messages of a file (each after its length in a line) with Python's own email package; prints a JSON line for each:
what a person would see."""

import base64
import email
import email.policy
import json
import sys


def mailboxes(message, field):
    return [
        [address.display_name, address.addr_spec]
        for value in message.get_all(field, [])
        for address in value.addresses
    ]


def decoded(value):
    """The package keeps bytes of a header beyond ASCII (RFC 6532) as surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if isinstance(value, dict):
        return {key: decoded(item) for key, item in value.items()}
    return value


def read(raw):
    message = email.message_from_bytes(raw, policy=email.policy.default)
    text = html = None
    files = []
    leaves = []

    def walk(part):
        if part.get_content_maintype() == "multipart":
            for child in part.iter_parts():
                walk(child)
        else:
            leaves.append(part)

    walk(message)
    for part in leaves:
        if part.get_content_disposition() is None:
            content = part.get_content()
            if part.get_content_type() == "text/plain" and text is None:
                text = content
            elif part.get_content_type() == "text/html" and html is None:
                html = content
            else:
                files.append(["", part.get_content_type(), "", "", base64.b64encode(content.encode()).decode()])
            continue
        if part.get_content_maintype() == "message":
            content = part.get_payload(0).as_bytes(policy=email.policy.SMTP) if part.is_multipart() else part.get_payload().encode()
        else:
            content = part.get_payload(decode=True)
        files.append(
            [
                part.get_filename() or "",
                part.get_content_type(),
                part.get("content-id", ""),
                part.get_content_disposition() or "",
                base64.b64encode(content).decode(),
            ]
        )
    return {
        "subject": str(message["subject"] or ""),
        "from": mailboxes(message, "from"),
        "to": mailboxes(message, "to"),
        "cc": mailboxes(message, "cc"),
        "reply_to": mailboxes(message, "reply-to"),
        "message_id": message["message-id"] or "",
        "custom": [str(value) for value in message.get_all("x-custom", [])],
        "text": text,
        "html": html,
        "files": files,
        "defects": [str(defect) for part in message.walk() for defect in part.defects],
    }


def main():
    with open(sys.argv[1], "rb") as file:
        while line := file.readline():
            print(json.dumps({"email": decoded(read(file.read(int(line))))}))


main()
