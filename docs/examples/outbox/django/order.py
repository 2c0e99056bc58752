"""An order and its receipt in one transaction: what is rolled back sends nothing, what commits is sent.

Prints the message's id and status; ends with 0 when it was delivered. Needs what requirements.txt names. DATABASE_URL is the
application's own, of a role that `mailwright outbox grant` named."""

import json
import os
import sys
import time
import urllib.error
import urllib.request

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

URL, KEY = os.environ["MAILWRIGHT_URL"], os.environ["MAILWRIGHT_KEY"]
MODE = "test" if KEY.startswith("mw_test_") else "live"
FINAL = {"delivered", "partially_delivered", "failed", "cancelled"}

# In a project of yours this stands in settings.py, and the model in models.py.
database = conninfo_to_dict(os.environ["DATABASE_URL"])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database["dbname"],
            "USER": database.get("user", ""),
            "PASSWORD": database.get("password", ""),
            "HOST": database.get("host", ""),
            "PORT": database.get("port", ""),
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.db import Error, connection, models, transaction  # noqa: E402


class Order(models.Model):
    customer = models.CharField(max_length=254)
    cents = models.IntegerField()

    class Meta:
        app_label = "shop"
        db_table = "orders"


def enqueue(message, key=None):
    """Enqueues mail in the transaction of the moment; gives the message's id. The key lets a task that runs twice send once."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT mailwright.enqueue(%s::jsonb, mode => %s, idempotency_key => %s)", [json.dumps(message), MODE, key]
        )
        return cursor.fetchone()[0]


def place_order(customer, cents):
    """Stores an order, and its receipt with it."""
    order = Order.objects.create(customer=customer, cents=cents)
    return enqueue(
        {
            "from": "Example Shop <shop@example.com>",
            "to": [customer],
            "subject": f"Your receipt for order {order.pk}",
            "text": f"Thank you. We have charged {cents / 100:.2f} EUR.",
            "tags": ["receipt"],
        },
        key=f"order-{order.pk}-receipt",
    )


def status_of(message):
    request = urllib.request.Request(f"{URL}/v1/messages/{message}", headers={"Authorization": f"Bearer {KEY}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["status"]
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return "unknown"


with connection.schema_editor() as editor:
    if Order._meta.db_table not in connection.introspection.table_names():
        editor.create_model(Order)

with transaction.atomic():
    lost = place_order("nobody@example.net", 100)
    transaction.set_rollback(True)  # the card was declined, say

with transaction.atomic():
    receipt = place_order("ada@example.net", 1999)

# What is no message does not get that far, and takes the transaction with it.
try:
    with transaction.atomic():
        place_order("no address", 1)
    sys.exit("a faulty message was taken")
except Error as error:
    if "/to/0" not in str(error):
        raise

for _ in range(120):
    status = status_of(receipt)
    if status in FINAL:
        break
    time.sleep(0.5)
print(receipt, status)
orders = list(Order.objects.values_list("customer", flat=True))
sys.exit(0 if status == "delivered" and status_of(lost) == "unknown" and orders == ["ada@example.net"] else 1)
