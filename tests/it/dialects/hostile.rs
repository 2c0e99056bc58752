//! What dialects do with those who mean no good, and with those who are careless.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{alicloud, mailgun, publish_template, sendcloud, service, ses, signing_key};
use crate::examples::PATIENCE;
use crate::support::app::App;
use crate::support::http::Answer;

/// The beginning of the answer to a head whose body breaks off: who reads it finds that out first.
async fn answer_to(app: &App, head: &str) -> String {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = format!("{head}Host: a\r\nContent-Length: 30000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut begun = vec![0; 64];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut begun)).await.expect("a body was waited for").unwrap();
    String::from_utf8_lossy(&begun[..read]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn who_has_no_key_is_told_before_a_body_is_read() {
    let app = service().await;
    let json = "Content-Type: application/json\r\nAuthorization: Bearer mw_live_wrong\r\n";
    let basic = "Content-Type: application/x-www-form-urlencoded\r\nAuthorization: Basic YXBpOndyb25n\r\n";
    let day = "Credential=key_00000000000000000000000000000000";
    let scope = "20261128/eu/ses/aws4_request, SignedHeaders=host;x-amz-date, Signature=00";
    for (head, status) in [
        (format!("POST /emails HTTP/1.1\r\n{json}"), 403),
        (format!("POST /v3/mail/send HTTP/1.1\r\n{json}"), 401),
        (
            "POST /email HTTP/1.1\r\nContent-Type: application/json\r\nX-Postmark-Server-Token: wrong\r\n".to_owned(),
            401,
        ),
        (format!("POST /v3/example.org/messages HTTP/1.1\r\n{basic}"), 401),
        (format!("POST {} HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 {day}/{scope}\r\n", ses::SEND), 403),
        (
            format!(
                "POST / HTTP/1.1\r\nx-acs-action: SingleSendMail\r\nAuthorization: ACS3-HMAC-SHA256 {day},SignedHeaders=host,Signature=0\r\n"
            ),
            404,
        ),
        ("POST /?Action=SingleSendMail&AccessKeyId=nobody HTTP/1.1\r\n".to_owned(), 404),
    ] {
        let answered = answer_to(&app, &head).await;
        assert!(answered.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answered}");
    }
}

fn assert_refused(answer: &Answer, words: &str) {
    assert!((200..500).contains(&answer.status), "{}", answer.text());
    assert!(answer.text().contains(words), "{words}: {}", answer.text());
}

#[tokio::test]
async fn what_one_request_makes_of_many_messages_is_bounded() {
    let app = service().await;
    publish_template(&app).await;
    let file = "A".repeat(400_000);
    let to = json!({"to": [{"email": "ann@example.net"}]});
    let mail = json!({"personalizations": vec![to; 1000], "from": {"email": "shop@example.org"}, "subject": "s",
        "content": [{"type": "text/plain", "value": "t"}], "attachments": [{"filename": "a", "content": file}]});
    assert_refused(&app.post("/v3/mail/send", &mail).await, "send fewer at once");
    // Nothing that is empty is nothing, if there is much of it.
    let mut empty = mail.clone();
    empty["attachments"] = json!([]);
    empty["categories"] = json!(vec![""; 90_000]);
    assert_refused(&app.post("/v3/mail/send", &empty).await, "send fewer at once");
    // A short word for a long one.
    let variables = json!({"ann@example.net": {"a": "b".repeat(1_000_000)}}).to_string();
    let form = [
        ("from", "shop@example.org".to_owned()),
        ("to", "ann@example.net".to_owned()),
        ("subject", "s".to_owned()),
        ("text", "%recipient.a%".repeat(1000)),
        ("recipient-variables", variables),
    ];
    let form = form.map(|(name, value)| (name.to_owned(), Value::String(value)));
    let path = "/v3/example.org/messages";
    assert_refused(&mailgun::send(&app, &app.live, path, &form).await, "with what is put in");
    let own = json!({"to": ["ann@example.net"], "sub": {"%a%": ["b".repeat(1_000_000)]}}).to_string();
    let form = [
        ("apiUser", json!("a")),
        ("apiKey", json!(app.live)),
        ("from", json!("shop@example.org")),
        ("subject", json!("s")),
        ("html", json!("%a%".repeat(1000))),
        ("xsmtpapi", json!(own)),
    ];
    assert_refused(&sendcloud::post(&app, "/apiv2/mail/send", &form).await, "with what is put in");
    let form = [
        ("app_key", json!(app.live)),
        ("template_id", json!("welcome")),
        ("from", json!("shop@example.org")),
        ("to[]", json!(vec!["ann@example.net"; 1000])),
        ("data", json!(json!({"name": "b".repeat(200_000)}).to_string())),
    ];
    assert_refused(&sendcloud::post(&app, "/index/api/send_email_batch", &form).await, "with what is put in");
    assert_eq!(app.get("/v1/messages").await.json()["data"], json!([]));
}

#[tokio::test]
async fn a_repeat_is_the_same_mail_and_what_is_signed_is_what_is_done() {
    let app = service().await;
    let (id, secret) = signing_key(&app, "admin").await;
    let key = (id.as_str(), secret.as_str());
    let mail = |subject: &'static str| {
        [
            ("Action", "SingleSendMail"),
            ("AccountName", "shop@example.org"),
            ("AddressType", "1"),
            ("ReplyToAddress", "false"),
            ("ToAddress", "ann@example.net"),
            ("Subject", subject),
            ("TextBody", "t"),
        ]
    };
    // Somebody who has heard a request sends it again; or does something else with it.
    let form = alicloud::signed(&app, key, &mail("once"));
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let mut client = app.client();
    let first = client.request("POST", "/compat/alicloud", &headers, form.clone().into_bytes()).await.unwrap();
    let again = client.request("POST", "/compat/alicloud", &headers, form.into_bytes()).await.unwrap();
    assert_eq!((first.status, &first.json()["EnvId"]), (200, &again.json()["EnvId"]), "{}", again.text());
    let asks = alicloud::signed(&app, key, &[("Action", "QueryDomainByParam")]);
    let headers = [headers[0], ("x-acs-action", "SingleSendMail")];
    let other = client.request("POST", "/compat/alicloud", &headers, asks.into_bytes()).await.unwrap();
    assert_refused(&other, "QueryDomainByParam is not understood");
    // An SDK that has had no answer.
    let signer = ses::Signer::new(&app).await;
    let email = json!({"FromEmailAddress": "shop@example.org", "Destination": {"ToAddresses": ["ann@example.net"]},
        "Content": {"Simple": {"Subject": {"Data": "tried"}, "Body": {"Text": {"Data": "t"}}}}});
    let tries =
        [signer.tried("one", &email).await, signer.tried("one", &email).await, signer.tried("two", &email).await];
    let ids = tries.each_ref().map(|answer| answer.json()["MessageId"].clone());
    assert!(ids[0].is_string() && ids[0] == ids[1] && ids[0] != ids[2], "{ids:?}");
    // The same file by another name is another mail.
    let path = "/v3/example.org/messages";
    let form = |filename: &str| {
        let file = json!({"filename": filename, "content": "hello"});
        [
            ("from", json!("shop@example.org")),
            ("to", json!("ann@example.net")),
            ("subject", json!("s")),
            ("text", json!("t")),
            ("attachment", file),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    };
    let first = mailgun::send_once(&app, "file-1", path, &form("a.txt")).await;
    let again = mailgun::send_once(&app, "file-1", path, &form("a.txt")).await;
    assert_eq!((first.status, first.json()), (200, again.json()));
    assert_refused(&mailgun::send_once(&app, "file-1", path, &form("b.txt")).await, "Idempotency-Key");
}

#[tokio::test]
async fn nothing_is_lost_without_a_word() {
    let app = service().await;
    let mail = |more: Value| {
        let mut mail = json!({"personalizations": [{"to": [{"email": "ann@example.net"}]}], "from": {"email": "shop@example.org"},
            "subject": "s", "content": [{"type": "text/plain", "value": "t"}]});
        mail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mail
    };
    for (more, words) in [
        (json!({"mail_settings": {"sandbox_mode": {"enable": "true"}}}), "mail_settings.sandbox_mode.enable"),
        (json!({"mail_settings": {"sandbox_mode": {"enabled": true}}}), "mail_settings.sandbox_mode.enabled"),
        (json!({"mail_settings": {"footer": {"enabled": true}}}), "mail_settings.footer.enabled"),
    ] {
        let answer = app.post("/v3/mail/send", &mail(more)).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_refused(&answer, words);
    }
    let path = "/v3/example.org/messages";
    let message = |more: &[(&str, &str)]| {
        let base = [("from", "shop@example.org"), ("to", "ann@example.net"), ("subject", "s"), ("text", "t")];
        base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Vec<_>>()
    };
    for (more, words) in [
        (&[("h:Reply-To", "a@b.c"), ("h:reply-to", "d@e.f")][..], "h:reply-to"),
        (&[("h:Message-Id", "a@example.org"), ("recipient-variables", "{\"ann@example.net\": {}}")], "h:Message-Id"),
        (&[("h:List-Unsubscribe", "<%unsubscribe_url%>")], "h:List-Unsubscribe"),
        (&[("h:X-Mailgun-Tag", "x")], "h:X-Mailgun-Tag"),
        (&[("t:variables", "{\"a\": 1, \"a\": 2}"), ("template", "welcome")], "t:variables"),
        (&[("o:deliverytime", "nan")], "o:deliverytime"),
    ] {
        assert_refused(&mailgun::send(&app, &app.live, path, &message(more)).await, words);
    }
    let filled = message(&[
        ("h:Reply-To", "r+%recipient.id%@example.org"),
        ("o:deliver-within", "1h"),
        ("recipient-variables", "{\"ann@example.net\": {\"id\": 7}}"),
    ]);
    assert_eq!(mailgun::send(&app, &app.live, path, &filled).await.status, 200);
    let newest = app.get("/v1/messages?limit=1").await.json()["data"][0].clone();
    assert!(newest["expires_at"].is_string(), "{newest}");
    let raw = app.get(&format!("/v1/messages/{}/raw", newest["id"].as_str().unwrap())).await.text();
    assert!(raw.contains("r+7@example.org"), "{raw}");
    let form = [
        ("apiUser", json!("a")),
        ("apiKey", json!(app.live)),
        ("from", json!("shop@example.org")),
        ("to", json!("ann@example.net")),
        ("subject", json!("s")),
        ("html", json!("t")),
        ("sendRequestId", json!("订单7")),
    ];
    assert_refused(&sendcloud::post(&app, "/apiv2/mail/send", &form).await, "`sendRequestId`");
    let signer = ses::Signer::new(&app).await;
    let raw = "From: shop@example.org\r\nTo: ann@example.net\r\nX-SES-CONFIGURATION-SET: shop\r\n\r\nt";
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, raw);
    let answer = signer.post(ses::SEND, &json!({"Content": {"Raw": {"Data": data}}})).await;
    assert_refused(&answer, "X-SES-CONFIGURATION-SET");
}

#[tokio::test]
async fn what_is_not_understood_is_told_in_the_form_of_whose_it_is() {
    let app = service().await;
    let bearer = format!("Bearer {}", app.live);
    for (path, member) in [
        ("/v3/templates", "errors"),
        ("/compat/sendgrid/v3/asm/groups", "errors"),
        ("/compat/postmark/nothing", "ErrorCode"),
        ("/compat/resend/contacts", "statusCode"),
        ("/compat/mailgun/v3/routes", "message"),
        ("/apiv2/mail/taskinfo", "statusCode"),
        ("/index/api/nothing", "code"),
        ("/v2/email/identities", "message"),
        ("/compat/alicloud/nothing", "Code"),
        ("/v1/nothing", "type"),
        ("/compat/nobody/x", "type"),
    ] {
        let headers = [("authorization", bearer.as_str())];
        let answer = app.client().request("GET", path, &headers, Vec::new()).await.unwrap();
        assert!((200..500).contains(&answer.status) && !answer.json()[member].is_null(), "{path}: {}", answer.text());
    }
    // Parameters, too, by the names that they have there.
    let headers = [("x-postmark-server-token", app.live.as_str())];
    let answer =
        app.client().request("GET", "/messages/outbound?recipient=nobody", &headers, Vec::new()).await.unwrap();
    assert_refused(&answer, "`recipient`");
}
