//! Time is the store's, and a test may move it: what takes days takes a moment.

use std::time::Duration;

use serde_json::json;

use crate::support::app::{Setup, message_to};
use crate::support::sink::{Do, Sink, Step};

#[tokio::test]
async fn a_retry_in_two_days_comes_when_two_days_have_passed() {
    let sink = Sink::setup()
        .script(|step, connection| match step {
            Step::Rcpt(_) if connection == 0 => Do::ReplyAndDrop("451 4.3.0 later"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).set("delivery.retry", "2d").start().await;
    let id = app.send(&message_to("a@example.net")).await;
    app.until(&id, "a deferral", |message| message["recipients"][0]["status"] == "deferred").await;
    app.clock.advance(Duration::from_hours(24));
    let still = app.message(&id).await;
    assert_eq!(still["recipients"][0]["attempts"], 1, "{still}");
    app.clock.advance(Duration::from_hours(36));
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert_eq!(sink.until_taken(1).await.len(), 1);
}

#[tokio::test]
async fn mail_expires_when_its_time_has_passed_and_idempotency_keys_are_forgotten_after_a_day() {
    let app = Setup::new().paused().start().await;
    let keyed = |body: serde_json::Value| {
        let app = &app;
        async move {
            let headers = [("idempotency-key", "order-1")];
            app.call_as(&app.live, "POST", "/v1/send", &headers, body.to_string().into_bytes()).await
        }
    };
    let mut message = message_to("a@example.net");
    message["ttl_seconds"] = json!(7200);
    let first = keyed(message.clone()).await;
    assert_eq!(first.status, 202, "{}", first.text());
    app.clock.advance(Duration::from_hours(23));
    let again = keyed(message.clone()).await;
    assert_eq!((again.status, again.text()), (202, first.text()), "byte for byte the same");
    app.clock.advance(Duration::from_hours(2));
    let anew = keyed(message).await;
    assert_ne!(anew.json()["id"], first.json()["id"], "a day has passed");
}

#[tokio::test]
async fn a_wrong_wall_clock_changes_no_instant_and_is_told() {
    let database = std::sync::Arc::new(crate::support::database::Database::new().await);
    // Forty days ahead, as libfaketime would have it.
    let app = Setup::new().on(&database).wall_clock_ahead(time::Duration::days(40)).paused().start().await;
    let id = app.send(&message_to("a@example.net")).await;
    let due = "SELECT count(*) FROM deliveries WHERE due_at BETWEEN now() - interval '1 minute' AND now() + interval '1 minute' \
               AND expires_at < now() + interval '5 days'";
    assert_eq!(database.count(due).await, 1);
    let created = app.message(&id).await["created_at"].as_str().unwrap().to_owned();
    let created = time::OffsetDateTime::parse(&created, &time::format_description::well_known::Rfc3339).unwrap();
    assert!((time::OffsetDateTime::now_utc() - created).whole_minutes().abs() < 2, "{created}");
    let ready = app.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("clock"), "{}", ready.text());
    assert!(app.metric("mailwright_clock_offset_seconds ").await > 3_000_000.0);
}

#[tokio::test]
async fn a_process_with_a_wrong_clock_is_known_to_the_others() {
    let app = Setup::new().wall_clock_ahead(time::Duration::days(40)).start().await;
    app.until_delivering().await;
    assert_eq!(app.database.count("SELECT count(*) FROM processes WHERE clock_offset_ms > 3000000000").await, 1);
    let doctor = crate::support::process::run(&app.database.url, &["doctor"]).await;
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(text.contains("FAIL clock of the process") && text.contains("its machine's clock is wrong"), "{text}");
}

#[tokio::test]
async fn two_processes_one_forty_days_off_in_either_direction_expire_hurry_and_lose_nothing() {
    for days in [40, -40] {
        let sink = Sink::setup()
            .script(|step, _| match step {
                Step::Rcpt(to) if to.contains("later") => Do::Reply("451 4.3.0 later"),
                _ => Do::Usual,
            })
            .start()
            .await;
        let database = std::sync::Arc::new(crate::support::database::Database::new().await);
        let setup = || Setup::new().route_to(sink.address).set("delivery.retry", "1h").on(&database);
        let wrong = setup().wall_clock_ahead(time::Duration::days(days)).start().await;
        let right = setup().start().await;
        right.until_delivering().await;
        let mut ids = Vec::new();
        for n in 0..40 {
            let app = if n % 2 == 0 { &wrong } else { &right };
            ids.push(app.send(&message_to(&format!("r{n}@example.net"))).await);
            app.send(&message_to(&format!("later{n}@example.net"))).await;
        }
        for id in &ids {
            assert_eq!(right.settled(id).await["status"], "delivered", "{days}");
        }
        database.until_count("SELECT count(*) FROM recipients WHERE status = 'deferred'", 40).await;
        let astray = "SELECT count(*) FROM deliveries \
                      WHERE due_at NOT BETWEEN now() + interval '5 minutes' AND now() + interval '70 minutes'";
        assert_eq!(database.count(astray).await, 0, "{days}: within the hour that the schedule says");
        assert_eq!(database.count("SELECT count(*) FROM attempts WHERE outcome = 'expired'").await, 0);
        assert_eq!(sink.taken_count(), 40, "{days}: each once");
    }
}
