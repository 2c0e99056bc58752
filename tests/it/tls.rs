//! TLS towards next hops: what a policy promises is kept, and what it does not require is not insisted on.

use crate::support::app::{Setup, message_to, status_of};
use crate::support::sink::{Do, Sink, Step};
use crate::support::tls::TestTls;

/// A route to `sink` by the name that the test's certificate shows.
fn route(scheme: &str, credentials: &str, sink: &Sink, query: &str) -> String {
    format!("{scheme}://{credentials}localhost:{}{query}", sink.address.port())
}

#[tokio::test]
async fn required_tls_is_validated_and_carries_credentials() {
    let tls = TestTls::new("localhost");
    let sink =
        Sink::setup().extensions(&["PIPELINING", "AUTH PLAIN LOGIN"]).starttls(tls.acceptor.clone()).start().await;
    let app = Setup::new()
        .set("delivery.route", route("smtp", "user:p%40ss@", &sink, "?tls=required"))
        .set("delivery.ca_file", tls.ca_file.display())
        .start()
        .await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    let taken = &sink.ledger()[0];
    assert!(taken.tls);
    // "\0user\0p@ss" in base64.
    assert_eq!(taken.user.as_deref(), Some("AUTH PLAIN AHVzZXIAcEBzcw=="));
    let attempt = &app.attempts(&id).await[0];
    assert_eq!(attempt["tls"], "TLSv1_3 validated");
    let transcript = attempt["transcript"].as_str().unwrap();
    assert!(transcript.contains("C: AUTH ***") && !transcript.contains("AHVzZXI"), "{transcript}");
}

#[tokio::test]
async fn implicit_tls_speaks_tls_from_the_first_byte() {
    let tls = TestTls::new("localhost");
    let sink = Sink::setup().extensions(&["AUTH PLAIN"]).implicit_tls(tls.acceptor.clone()).start().await;
    let app = Setup::new()
        .set("delivery.route", route("smtps", "user:pass@", &sink, ""))
        .set("delivery.ca_file", tls.ca_file.display())
        .start()
        .await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert!(sink.ledger()[0].tls);
}

#[tokio::test]
async fn required_tls_never_falls_back_to_the_clear() {
    let tls = TestTls::new("localhost");
    let other = TestTls::new("other.example");
    let plain = Sink::start().await;
    let refusing = Sink::setup()
        .starttls(tls.acceptor.clone())
        .script(|step, _| if *step == Step::StartTls { Do::Reply("454 4.7.0 not now") } else { Do::Usual })
        .start()
        .await;
    let misnamed = Sink::setup().starttls(other.acceptor.clone()).start().await;
    for (sink, ca) in [(&plain, &tls), (&refusing, &tls), (&misnamed, &other), (&misnamed, &tls)] {
        let app = Setup::new()
            .set("delivery.route", route("smtp", "", sink, "?tls=required"))
            .set("delivery.ca_file", ca.ca_file.display())
            .set("delivery.retry", "1h")
            .start()
            .await;
        let id = app.send(&message_to("a@example.net")).await;
        app.until(&id, "a deferral", |m| status_of(m, "a@example.net") == "deferred").await;
        assert_eq!(sink.taken_count(), 0);
        assert!(!sink.steps().iter().any(|(_, step)| matches!(step, Step::Mail(_))));
    }
}

#[tokio::test]
async fn opportunistic_tls_takes_any_certificate() {
    let sink = Sink::setup().starttls(TestTls::new("other.example").acceptor).start().await;
    let app = Setup::new().set("delivery.route", route("smtp", "", &sink, "?tls=opportunistic")).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    app.settled(&id).await;
    assert!(sink.ledger()[0].tls);
    assert_eq!(app.attempts(&id).await[0]["tls"], "TLSv1_3 unvalidated");
}

#[tokio::test]
async fn opportunistic_tls_falls_back_on_a_new_connection_only() {
    // 220, and then no TLS: the handshake fails.
    let sink = Sink::setup()
        .extensions(&["PIPELINING", "STARTTLS"])
        .script(|step, _| if *step == Step::StartTls { Do::ReplyAndDrop("220 go ahead") } else { Do::Usual })
        .start()
        .await;
    let app = Setup::new().set("delivery.route", route("smtp", "", &sink, "?tls=opportunistic")).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    let taken = &sink.ledger()[0];
    assert!(!taken.tls && taken.connection > 0);
    let transcript = app.attempts(&id).await[0]["transcript"].as_str().unwrap().to_owned();
    assert!(transcript.contains("a new connection in the clear"), "{transcript}");
}

#[tokio::test]
async fn bytes_in_the_clear_behind_starttls_are_not_trusted() {
    let sink = Sink::setup()
        .extensions(&["PIPELINING", "STARTTLS"])
        .script(|step, _| match step {
            Step::StartTls => Do::Bytes(b"220 go ahead\r\n250 2.0.0 injected\r\n"),
            _ => Do::Usual,
        })
        .start()
        .await;
    for policy in ["required", "opportunistic"] {
        let app = Setup::new()
            .set("delivery.route", route("smtp", "", &sink, &format!("?tls={policy}")))
            .set("delivery.retry", "1h")
            .start()
            .await;
        let id = app.send(&message_to("a@example.net")).await;
        let message = app.until(&id, "a deferral", |m| status_of(m, "a@example.net") == "deferred").await;
        let text = message["recipients"][0]["last_reply"]["text"].as_str().unwrap().to_owned();
        assert!(text.contains("bytes in the clear"), "{policy}: {text}");
    }
}
