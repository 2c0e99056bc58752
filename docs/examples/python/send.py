"""Sends a message, with the file of the first argument attached if there is one, and waits for what becomes of it.

Prints the message's id and status; ends with 0 when it was delivered. Needs Python 3.8 or newer, and nothing else."""

import base64
import http.client
import json
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request
import uuid

URL, KEY = os.environ["MAILWRIGHT_URL"], os.environ["MAILWRIGHT_KEY"]
FINAL = {"delivered", "partially_delivered", "failed", "cancelled"}


def call(method, path, body=None, **headers):
    """Status, headers and JSON of an answer; OSError or HTTPException when none came."""
    headers.update({"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read() or b"null")


def send(message, key):
    """Sends a message once: what may have been lost on the way is repeated under the same key."""
    for wait in (1, 2, 4, 8, None):
        try:
            status, headers, answer = call("POST", "/v1/send", message, **{"Idempotency-Key": key})
            if status == 202:
                return answer
            trouble, asked = answer, headers.get("Retry-After")
            if status not in (429, 503):
                break
        except (OSError, http.client.HTTPException) as error:
            trouble, asked = error, None
        if wait is not None:
            time.sleep(int(asked or wait))
    sys.exit(f"not sent: {trouble}")


message = {
    "from": "Example Shop <shop@example.com>",
    "to": ["ada@example.net"],
    "subject": "Your receipt",
    "text": "Thank you for your order.",
    "tags": ["receipt"],
}
if len(sys.argv) > 1:
    file = pathlib.Path(sys.argv[1])
    message["attachments"] = [{"filename": file.name, "content": base64.b64encode(file.read_bytes()).decode()}]
# The key names what the message is about, so that it is sent once: in your program the order's number, for example.
accepted = send(message, key=f"example-{uuid.uuid4()}")

for _ in range(120):
    _, _, read = call("GET", f"/v1/messages/{accepted['id']}")
    if read["status"] in FINAL:
        break
    time.sleep(0.5)
print(read["id"], read["status"])
sys.exit(read["status"] != "delivered")
