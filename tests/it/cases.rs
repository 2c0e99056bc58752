//! Public bug reports about other mail software, tried here: what is composed, and what is refused. The numbers are those
//! of the reports' list; each stands for its kind.

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};

use crate::support::app::{App, Setup};

fn with(fields: &Value) -> Value {
    let mut body = json!({"from": "a@sender.test", "to": "b@x.test", "subject": "s", "text": "t\n"});
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// The bytes that a request composes to.
async fn composed(app: &App, body: &Value) -> Vec<u8> {
    let id = app.send(body).await;
    app.get(&format!("/v1/messages/{id}/raw")).await.bytes.to_vec()
}

#[tokio::test]
async fn headers_are_written_as_every_reader_reads_them() {
    let app = Setup::new().paused().start().await;
    let unbroken = "x".repeat(990);
    for (case, fields, wanted, unwanted) in [
        (3, json!({"subject": "Re: =?utf-8?q?hello?= x"}), "Subject: Re: =?utf-8?", "=?utf-8?q?hello?="),
        (
            5,
            json!({"from": {"email": "a@sender.test", "name": "Acme, Inc."}}),
            "From: \"Acme, Inc.\" <a@sender.test>",
            "=?",
        ),
        (16, json!({"to": null, "bcc": "secret@x.test"}), "\r\nTo: undisclosed-recipients:;\r\n", "secret"),
        (16, json!({"to": null, "cc": "c@x.test"}), "\r\nTo: undisclosed-recipients:;\r\n", "Bcc"),
        (18, json!({"to": "अजय@x.test"}), "\r\nTo: अजय@x.test\r\n", "?="),
        (18, json!({"from": "🎉@sender.test"}), "From: 🎉@sender.test\r\n", "?="),
        (20, json!({"to": "a@my--shop.test"}), "To: a@my--shop.test\r\n", "xn--"),
        (43, json!({"message_id": "<thread-1@sender.test>"}), "\r\nMessage-ID: <thread-1@sender.test>\r\n", "<<"),
        (
            0,
            json!({"otp": {"code": "123456", "origin": "https://example.com"}}),
            "\r\nOTP-Token: \"123456\"; origin=\"https://example.com\"\r\n",
            "?=",
        ),
        (
            0,
            json!({"auto_replies": "suppress"}),
            "\r\nAuto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\n",
            "?=",
        ),
        (
            0,
            json!({"auto_replies": "suppress", "headers": {"auto-submitted": "auto-notified"}}),
            "\r\nauto-submitted: auto-notified\r\n",
            "auto-generated",
        ),
    ] {
        let raw = String::from_utf8(composed(&app, &with(&fields)).await).unwrap();
        assert!(raw.contains(wanted) && !raw.contains(unwanted), "{case} {fields}:\n{raw}");
    }
    for subject in ["é  é", "Re: =?utf-8?q?hello?= x", &unbroken, " é ", "a  b   c"] {
        let raw = composed(&app, &with(&json!({"subject": subject}))).await;
        let message = MessageParser::default().parse(&raw).unwrap();
        assert_eq!(message.subject(), Some(subject));
    }
    // The longest value that is documented, in one word.
    composed(&app, &with(&json!({"headers": {"X-Long": "y".repeat(998)}}))).await;
}

#[tokio::test]
async fn parts_are_what_was_asked_for_and_no_more() {
    let app = Setup::new().paused().start().await;
    let png =
        json!({"filename": "l.png", "content": "iVBORw0KGgp4eHh4", "content_type": "image/png", "content_id": "logo"});
    let inline =
        json!({"filename": "l.png", "content": "aGVsbG8=", "content_type": "image/png", "disposition": "inline"});
    let kept = json!({"filename": "l.png", "content": "aGVsbG8=", "content_id": "logo", "disposition": "attachment"});
    let named = json!({"filename": "räport.pdf", "content": "aGVsbG8=", "content_type": "application/pdf"});
    let untyped = json!({"filename": "receipt.pdf", "content": "aGVsbG8="});
    let eml = json!({"filename": "x.eml", "content": "U3ViamVjdDogeA0KDQpoaQ0K", "content_type": "message/rfc822"});
    let invitation =
        json!({"content_type": "text/calendar", "content": "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"});
    let amp = json!({"content_type": "text/x-amp-html", "content": "<html amp4email></html>"});
    for (case, fields, wanted, unwanted) in [
        (22, json!({"text": "hello\n", "html": ""}), "Content-Type: text/plain", "multipart"),
        (22, json!({"text": "hello\n", "html": " \r\n\t"}), "Content-Type: text/plain", "text/html"),
        (22, json!({"text": null, "html": ""}), "Content-Type: text/plain", "multipart"),
        (
            25,
            json!({"html": "<img src=\"cid:logo\">", "attachments": [png]}),
            "multipart/related; type=\"text/html\"",
            "x.bin",
        ),
        (26, json!({"attachments": [named]}), "filename*=utf-8''r%C3%A4port.pdf", "filename*0"),
        (26, json!({"attachments": [named]}), "name=\"=?utf-8?", "filename=\"="),
        (28, json!({"html": "<p>x</p>", "attachments": [inline]}), "Content-Disposition: inline;", "Content-ID"),
        (28, json!({"html": "<p>x</p>", "attachments": [kept]}), "Content-Disposition: attachment;", "related"),
        (
            30,
            json!({"html": "<p>x</p>", "attachments": [{"filename": "x", "content": "aGVsbG8=", "content_id": "<logo>"}]}),
            "Content-ID: <logo>\r\n",
            "<<",
        ),
        (
            30,
            json!({"html": "<p>x</p>", "attachments": [{"filename": "x", "content": "aGVsbG8=", "content_id": "cid:a/b=c"}]}),
            "Content-ID: <a/b=c>\r\n",
            "cid:a",
        ),
        (
            34,
            json!({"html": "<p>x</p>", "alternatives": [invitation, amp]}),
            "Content-Type: text/calendar; charset=utf-8; method=REQUEST",
            "mixed",
        ),
        (35, json!({"attachments": [eml]}), "Content-Type: message/rfc822; name=x.eml", "octet-stream"),
        (35, json!({"attachments": [eml]}), "\r\n\r\nSubject: x\r\n\r\nhi\r\n", "base64"),
        (0, json!({"attachments": [untyped]}), "Content-Type: application/pdf", "octet-stream"),
        (
            0,
            json!({"attachments": [{"filename": "x", "content": "data:image/gif;base64,R0lG"}]}),
            "Content-Type: image/gif",
            "octet-stream",
        ),
    ] {
        let raw = String::from_utf8(composed(&app, &with(&fields)).await).unwrap();
        // Names in quotes and bare are the same name.
        let raw = raw.replace("name=\"x.eml\"", "name=x.eml");
        assert!(raw.contains(wanted) && !raw.contains(unwanted), "{case} {fields}: {wanted}\n{raw}");
    }
    let raw = composed(&app, &with(&json!({"text": "hi\n"}))).await;
    assert!(raw.ends_with(b"\r\n\r\nhi\r\n"), "24: no line end too many");
    let order = composed(&app, &with(&json!({"html": "<p>x</p>", "alternatives": [invitation, amp]}))).await;
    let order = String::from_utf8(order).unwrap();
    let places = ["text/plain", "text/x-amp-html", "text/html", "text/calendar"].map(|kind| order.find(kind).unwrap());
    assert!(places.is_sorted(), "34: {places:?}\n{order}");
    let raw = composed(&app, &with(&json!({"attachments": [named]}))).await;
    let message = MessageParser::default().parse(&raw).unwrap();
    assert_eq!(message.attachment(0).unwrap().attachment_name(), Some("räport.pdf"));
}

#[tokio::test]
async fn what_would_be_half_understood_is_refused_at_its_place() {
    let app = Setup::new().paused().start().await;
    let file = |fields: Value| {
        let mut file = json!({"filename": "x.bin", "content": "aGVsbG8="});
        for (name, value) in fields.as_object().unwrap() {
            file[name] = value.clone();
        }
        json!({"attachments": [file]})
    };
    let long_line = "A".repeat(4000);
    for (case, fields, pointer, code) in [
        (7, json!({"to": "c@x.test, Bob <d@x.test>"}), "/to", "invalid_address"),
        (7, json!({"cc": ["ok@x.test", "a@x.test;b@x.test"]}), "/cc/1", "invalid_address"),
        (7, json!({"bcc": "a@x.test b@x.test"}), "/bcc", "invalid_address"),
        (7, json!({"reply_to": "Lee, Ann <a@x.test>"}), "/reply_to", "invalid_address"),
        (7, json!({"from": "x@y.test <a@sender.test>"}), "/from", "invalid_address"),
        (7, json!({"to": {"email": "a@x.test, b@x.test"}}), "/to", "invalid_address"),
        (
            10,
            json!({"headers": {"List-Unsubscribe": "<https://a.test>", "list-unsubscribe": "<https://b.test>"}}),
            "/headers/list-unsubscribe",
            "invalid_header",
        ),
        (
            14,
            file(json!({"content_type": "text/plain; charset"})),
            "/attachments/0/content_type",
            "invalid_content_type",
        ),
        (30, file(json!({"content_id": "my logo"})), "/attachments/0/content_id", "invalid_content_id"),
        (32, file(json!({"content": "aGVs!G8="})), "/attachments/0/content", "invalid_base64"),
        (
            35,
            file(json!({"content_type": "message/rfc822", "content": long_line})),
            "/attachments/0/content",
            "invalid_message",
        ),
        (35, file(json!({"content_type": "multipart/mixed"})), "/attachments/0/content_type", "invalid_content_type"),
        (43, json!({"headers": {"Message-ID": "<a@b>"}}), "/headers/Message-ID", "reserved_header"),
        (43, json!({"message_id": "no at"}), "/message_id", "invalid_message_id"),
        (
            34,
            json!({"alternatives": [{"content_type": "text/html", "content": "x"}]}),
            "/alternatives/0/content_type",
            "invalid_content_type",
        ),
        (
            34,
            json!({"alternatives": [{"content_type": "application/ics", "content": "x"}]}),
            "/alternatives/0/content_type",
            "invalid_content_type",
        ),
        (0, json!({"otp": {"code": "1", "origin": "https://example.com/path"}}), "/otp/origin", "invalid_otp"),
        (0, json!({"auto_replies": "never"}), "/auto_replies", "invalid_auto_replies"),
        (44, json!({"return_path": "bounce@other.test"}), "/return_path", "forbidden_address"),
        (44, json!({"return_path": "bounce@notsender.test"}), "/return_path", "forbidden_address"),
        (44, json!({"return_path": "bounce@test"}), "/return_path", "invalid_address"),
        (44, json!({"return_path": "a@sender.test> SIZE=1"}), "/return_path", "invalid_address"),
        (44, json!({"return_path": 7}), "/return_path", "wrong_type"),
    ] {
        let answer = app.post("/v1/send", &with(&fields)).await;
        assert_eq!(answer.status, 422, "{case} {fields}: {}", answer.text());
        assert_eq!(answer.faults(), [(pointer.to_owned(), code.to_owned())], "{case}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_encoders_write_is_taken() {
    let app = Setup::new().paused().start().await;
    for content in ["aGVsbG8gd29ybGQgaGVsbG8g\nd29ybGQ=\n", "aGVs bG8=", "-_-_", "data:;base64,aGVsbG8="] {
        app.send(&with(&json!({"attachments": [{"filename": "x.bin", "content": content}]}))).await;
    }
    app.send(&with(&json!({"from": {"email": " a@sender.test ", "name": " Ann "}}))).await;
}

#[tokio::test]
async fn what_is_shown_can_be_sent_again() {
    let app = Setup::new().paused().start().await;
    let id = app.send(&with(&json!({"from": {"email": "a@sender.test", "name": "Kock, Arne"}}))).await;
    let message = app.message(&id).await;
    assert_eq!(message["from"], "\"Kock, Arne\" <a@sender.test>");
    assert!(message["message_id"].as_str().unwrap().ends_with("@sender.test"));
    app.send(&with(&json!({"from": message["from"]}))).await;
    let own = app.send(&with(&json!({"message_id": "order-17@shop.test"}))).await;
    assert_eq!(app.message(&own).await["message_id"], "order-17@shop.test");
}
