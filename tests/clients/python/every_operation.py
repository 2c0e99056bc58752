"""Calls every operation of openapi.yaml (its path is the argument) with the client that scripts/clients makes; every answer must be one that
the description names, and be read by the generated types.

The calls follow from the file: ids come from what was made before, bodies are the examples of openapi.yaml, or ARGUMENTS says otherwise. What
makes something is called first, what deletes last."""

import datetime
import importlib
import io
import os
import pkgutil
import re
import sys
import time
import typing

import mailwright_client.api
import yaml
from mailwright_client import AuthenticatedClient
from mailwright_client.types import File

# What the file cannot say, by operationId: arguments of the generated function. A body is JSON, or bytes.
TOMORROW = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).isoformat()
ARGUMENTS = {
    "editMessage": {"body": {"expires_at": TOMORROW}},
    "createProject": {"body": {"name": "new"}},
    "putDomainPool": {"body": {"members": [{"domain": "example.com"}]}},
    "createWebhook": {"body": {"url": "http://127.0.0.1:9/hook"}},
    "replayWebhook": {"body": {"since": "2026-01-01T00:00:00+00:00"}},
    "getWebhookDelivery": {"event": lambda ids: told(ids["whk"])},
}


def told(endpoint):
    """An event that the endpoint was told."""
    module = importlib.import_module(modules["list_webhook_deliveries"])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        listed = module.sync(endpoint, client=client).data
        if listed:
            return listed[0].event_id
        time.sleep(0.02)
    sys.exit("no endpoint was told anything")


# How an operation's success must end before the next begins: the field `status` of its answer.
UNTIL = {"getMessage": "delivered"}
ID = re.compile(r"([a-z]{3})_[0-9a-f]{32}")
METHODS = ["post", "put", "get", "patch", "delete"]

with open(sys.argv[1]) as file:
    document = yaml.safe_load(file)
client = AuthenticatedClient(
    base_url=os.environ["MAILWRIGHT_URL"], token=os.environ["MAILWRIGHT_KEY"], raise_on_unexpected_status=True
)
modules = {
    info.name.rpartition(".")[2]: info.name
    for info in pkgutil.walk_packages(mailwright_client.api.__path__, "mailwright_client.api.")
}


def resolve(node):
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


class Operation:
    def __init__(self, method, path, about, shared):
        self.method, self.path, self.about = method, path, about
        self.id = about["operationId"]
        self.parameters = [resolve(parameter) for parameter in shared + about.get("parameters", [])]

    def missing(self, what):
        sys.exit(
            f"{self.id} ({self.method.upper()} {self.path}): {what}. Give it an example in openapi.yaml, "
            "or add it to ARGUMENTS of tests/clients/python/every_operation.py."
        )

    def prefix(self, parameter):
        """What a path's parameter is the id of; None when it is no id."""
        found = re.match(r"\^([a-z]{3})_", resolve(parameter["schema"]).get("pattern", ""))
        return found and found[1]

    def kinds(self):
        if not self.path.count("{"):
            return []
        given = ARGUMENTS.get(self.id, {})
        ids = (self.prefix(p) for p in self.parameters if p["in"] == "path" and snake(p["name"]) not in given)
        return [kind for kind in ids if kind]

    def order(self):
        """Sends and creations, then what reads and changes, then what deletes: the deepest path first."""
        depth = self.path.count("/")
        stage = 2 if self.method == "delete" else 0 if self.method == "post" and "{" not in self.path else 1
        return stage, -depth if stage == 2 else depth, METHODS.index(self.method)

    def example(self, parameter):
        schema = resolve(parameter["schema"])
        for holder in (parameter, schema):
            if "example" in holder:
                return holder["example"]
            if isinstance(holder.get("examples"), list):
                return holder["examples"][0]
        return self.missing(f"no value for its parameter '{parameter['name']}'")

    def arguments(self, ids):
        given = {name: value(ids) if callable(value) else value for name, value in ARGUMENTS.get(self.id, {}).items()}
        for parameter in self.parameters:
            name = snake(parameter["name"])
            if name in given or not (parameter["in"] == "path" or parameter.get("required")):
                continue
            kind = parameter["in"] == "path" and self.prefix(parameter)
            given[name] = ids[kind] if kind else self.example(parameter)
        content = resolve(self.about.get("requestBody", {})).get("content", {})
        if content:
            media = next(iter(content.values()))
            examples = [media["example"]] if "example" in media else []
            examples += [resolve(example)["value"] for example in media.get("examples", {}).values()]
            if "body" not in given and not examples:
                self.missing("no body")
            given["body"] = self.typed(given.get("body", examples[0] if examples else None))
        return given

    def typed(self, body):
        """A body as the generated function takes it."""
        hint = typing.get_type_hints(self.module().sync_detailed)["body"]
        for kind in typing.get_args(hint) or [hint]:
            if kind is File:
                return File(payload=io.BytesIO(body if isinstance(body, bytes) else str(body).encode()))
            if hasattr(kind, "from_dict"):
                try:
                    made = kind.from_dict(body)
                except (KeyError, TypeError, ValueError, AttributeError):
                    # Another one of several.
                    continue
                if made.to_dict() == body:
                    return made
        return body

    def module(self):
        name = snake(self.id)
        if name not in modules:
            sys.exit(f"{self.id}: the generator made no module {name} of it")
        return importlib.import_module(modules[name])

    def call(self, ids):
        deadline = time.monotonic() + 20
        while True:
            answer = self.module().sync_detailed(client=client, **self.arguments(ids))
            status = int(answer.status_code)
            if not 200 <= status < 300:
                sys.exit(f"{self.id} ({self.method.upper()} {self.path}): {status} {answer.content.decode()}")
            # The module has no type for a body that the description does not name.
            if answer.content and answer.parsed is None:
                sys.exit(f"{self.id}: nothing was read from {answer.content[:300]}")
            wanted = UNTIL.get(self.id)
            if wanted is None or answer.parsed.status == wanted:
                return answer
            if time.monotonic() > deadline:
                sys.exit(f"{self.id}: its status is {answer.parsed.status}, and was to be {wanted}")
            time.sleep(0.02)


def remember(text, ids, is_own):
    """Ids in an answer: of what was made here, or else the first that was seen."""
    for found in ID.finditer(text):
        if is_own:
            ids[found[1]] = found[0]
        else:
            ids.setdefault(found[1], found[0])


operations = [
    Operation(method, path, about, item.get("parameters", []))
    for path, item in document["paths"].items()
    for method, about in item.items()
    if method in METHODS
]
ids, left = {}, sorted(operations, key=Operation.order)
while left:
    operation = next((o for o in left if all(kind in ids for kind in o.kinds())), None)
    if operation is None:
        left[0].missing(f"nothing that was called before made a {', '.join(set(left[0].kinds()) - ids.keys())}_… id")
    left.remove(operation)
    answer = operation.call(ids)
    if answer.headers.get("content-type", "").startswith("application/json"):
        remember(answer.content.decode(), ids, operation.order()[0] == 0)
