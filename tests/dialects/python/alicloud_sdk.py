"""Alibaba Cloud's own SDK of DirectMail for Python, against a service that speaks its language; and requests signed as SDKs did before it
(HMAC-SHA1), without an SDK. Prints a line of JSON for each call.

MAILWRIGHT_BASE says where; MAILWRIGHT_KEY_ID and MAILWRIGHT_KEY are the AccessKey, MAILWRIGHT_READER_ID and MAILWRIGHT_READER one that may
only read.
"""

import base64
import datetime
import hashlib
import hmac
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid

from alibabacloud_dm20151123 import models
from alibabacloud_dm20151123.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config

BASE = os.environ["MAILWRIGHT_BASE"].rstrip("/")
KEY_ID, KEY = os.environ["MAILWRIGHT_KEY_ID"], os.environ["MAILWRIGHT_KEY"]


def reach(key_id, secret):
    endpoint = urllib.parse.urlsplit(BASE).netloc
    return Client(Config(access_key_id=key_id, access_key_secret=secret, endpoint=endpoint, protocol="HTTP"))


def say(call, work):
    data = error = None
    try:
        response = work()
        data = {"status": response.status_code, **response.body.to_map()}
    except AlibabaCloudException as raised:
        error = {
            "class": type(raised).__name__, "status": raised.status_code, "code": raised.code, "message": raised.message,
            "request_id": raised.request_id, "retry_after": raised.retry_after, "data": raised.data,
        }
    print(json.dumps({"call": call, "data": data, "error": error}), flush=True)
    return data


def mail(subject, **more):
    fields = {
        "account_name": "shop@example.org", "address_type": 1, "reply_to_address": False, "to_address": "ann@example.net",
        "subject": subject, "text_body": "Hello", **more,
    }
    return models.SingleSendMailRequest(**fields)


def template(template_id, **template_data):
    return models.SingleSendMailRequestTemplate(template_id=template_id, template_data=template_data)


client = reach(KEY_ID, KEY)
reader = reach(os.environ["MAILWRIGHT_READER_ID"], os.environ["MAILWRIGHT_READER"])

say("send", lambda: client.single_send_mail(mail(
    "Python whole", from_alias="Läden & Co", address_type=0, reply_to_address=True, reply_address="help@example.org",
    reply_address_alias="Help", html_body="<p>Hello (1+1=2) ~ * 'you'!</p>", text_body="Grüße, 你好 + 100%", tag_name="receipt",
    click_trace="0", headers=json.dumps({"X-User-Order": "7"}), un_subscribe_link_type="disabled",
    un_subscribe_filter_level="disabled", domain_auth=False,
)))
say("send many", lambda: client.single_send_mail(mail("Python many", to_address="ann@example.net,bob@example.net")))
say("template", lambda: client.single_send_mail(mail(None, text_body=None, template=template("welcome", name="Ann"))))
say("no sender", lambda: client.single_send_mail(mail("s", account_name=None)))
say("other sender", lambda: client.single_send_mail(mail("s", account_name="shop@elsewhere.example")))
say("bad recipient", lambda: client.single_send_mail(mail("s", to_address="nobody")))
say("bcc", lambda: client.single_send_mail(mail("s", bcc_address="dan@example.net")))
say("domain auth", lambda: client.single_send_mail(mail("s", domain_auth=True)))
say("attachment", lambda: client.single_send_mail(mail("s", attachments=[
    models.SingleSendMailRequestAttachments(attachment_name="a.txt", attachment_url="https://example.org/a.txt"),
])))
say("wrong key", lambda: reach("nobody", KEY).single_send_mail(mail("s")))
say("wrong secret", lambda: reach(KEY_ID, "wrong").single_send_mail(mail("s")))
say("reader", lambda: reader.single_send_mail(mail("s")))
say("batch", lambda: client.batch_send_mail(models.BatchSendMailRequest(
    account_name="shop@example.org", address_type=1, receivers=[
        models.BatchSendMailRequestReceivers(to=["ann@example.net"], template_data={"name": "Ann"}),
    ],
)))
now = datetime.datetime.now(datetime.timezone.utc)
hours = datetime.timedelta(hours=24)
span = {"start_time": (now - hours).strftime("%Y-%m-%d %H:%M"), "end_time": (now + hours).strftime("%Y-%m-%d %H:%M")}
say("status", lambda: reader.sender_statistics_detail_by_param(
    models.SenderStatisticsDetailByParamRequest(to_address="early@example.net", length=2, **span),
))


# What an SDK of the time before ACS3 does: https://help.aliyun.com/document_detail/315526.html

def encoded(text):
    return urllib.parse.quote(text, safe="-_.~")


def rpc(call, method, fields, key_id=KEY_ID, secret=KEY, seconds=0, base=BASE):
    instant = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    fields = {
        "Format": "JSON", "Version": "2015-11-23", "RegionId": "cn-hangzhou", "AccessKeyId": key_id,
        "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
        "SignatureNonce": str(uuid.uuid4()), "Timestamp": instant.strftime("%Y-%m-%dT%H:%M:%SZ"), **fields,
    }
    canonical = "&".join(f"{encoded(name)}={encoded(fields[name])}" for name in sorted(fields))
    to_sign = f"{method}&{encoded('/')}&{encoded(canonical)}"
    signature = hmac.new(f"{secret}&".encode(), to_sign.encode(), hashlib.sha1).digest()
    # The form as a browser writes it: what is signed is what it says, not how.
    form = urllib.parse.urlencode({**fields, "Signature": base64.b64encode(signature).decode()})
    if method == "GET":
        request = urllib.request.Request(f"{base}/?{form}")
    else:
        request = urllib.request.Request(f"{base}/", form.encode())
    data = error = None
    try:
        with urllib.request.urlopen(request) as response:
            data = {"status": response.status, **json.load(response)}
    except urllib.error.HTTPError as raised:
        error = {"class": type(raised).__name__, "status": raised.code, **json.load(raised)}
    print(json.dumps({"call": call, "data": data, "error": error}), flush=True)


def single(subject, **more):
    return {
        "Action": "SingleSendMail", "AccountName": "shop@example.org", "AddressType": "1", "ReplyToAddress": "false",
        "ToAddress": "ann@example.net", "Subject": subject, "TextBody": "Hello (1+1) ~ * 'you'! Grüße", **more,
    }


rpc("rpc get", "GET", single("Python RPC GET"))
rpc("rpc post", "POST", single("Python RPC POST"))
rpc("rpc below", "POST", single("Python RPC below"), base=f"{BASE}/compat/alicloud")
rpc("rpc status", "GET", {
    "Action": "SenderStatisticsDetailByParam", "StartTime": span["start_time"], "EndTime": span["end_time"],
    "ToAddress": "early@example.net",
})
rpc("rpc no recipient", "POST", single("s", ToAddress=""))
rpc("rpc unknown", "POST", single("s", ToAdress="ann@example.net"))
rpc("rpc wrong key", "POST", single("s"), key_id="nobody")
rpc("rpc wrong secret", "POST", single("s"), secret="wrong")
rpc("rpc reader", "POST", single("s"), os.environ["MAILWRIGHT_READER_ID"], os.environ["MAILWRIGHT_READER"])
rpc("rpc late", "POST", single("s"), seconds=-3600)
rpc("rpc other action", "GET", {"Action": "QueryDomainByParam"})
