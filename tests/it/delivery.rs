//! From the queue to a next hop: what is said, what is recorded, and when it is tried again.

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to, status_of};
use crate::support::sink::{Do, Sink, Step};

fn outcomes(attempts: &[Value]) -> Vec<&str> {
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_message_arrives_exactly_as_stored() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let content = "UE5HDQoaCg==";
    let id = app
        .send(&json!({
            "from": "Zoë <zoe@bücher.example>", "to": ["a@example.net"], "bcc": "b@example.net", "subject": "Grüße",
            "text": ".dot\n..two\nend", "html": "<p>hi <img src=\"cid:logo\"></p>", "reply_to": "r@example.org",
            "headers": {"X-Order": "17"},
            "attachments": [{"filename": "l.png", "content": content, "content_type": "image/png", "content_id": "logo"},
                            {"filename": "raw.txt", "content": "YQpiDWMA"}]
        }))
        .await;
    let taken = sink.until_taken(2).await;
    let raw = app.get(&format!("/v1/messages/{id}/raw")).await.bytes;
    for copy in &taken {
        assert_eq!(copy.data, raw, "what is stored is what went out");
        assert_eq!(copy.sender, "zoe@xn--bcher-kva.example");
    }
    let text = String::from_utf8_lossy(&raw).into_owned();
    assert!(text.contains("X-Order: 17\r\n") && !text.contains("b@example.net"), "{text}");
    let message = app.settled(&id).await;
    assert_eq!(message["status"], "delivered");
    assert_eq!(message["counts"]["delivered"], 2);
    assert_eq!(message["recipients"][0]["last_reply"]["text"], "taken");
    let attempt = &app.attempts(&id).await[0];
    assert_eq!(attempt["ip"], "127.0.0.1");
    let transcript = attempt["transcript"].as_str().unwrap();
    assert!(
        transcript.contains("C: MAIL FROM:<zoe@xn--bcher-kva.example> SIZE=")
            && transcript.contains("S: 250 2.0.0 taken"),
        "{transcript}"
    );
    assert!(!transcript.contains("X-Order"), "the body is not in the transcript");
}

#[tokio::test]
async fn outcomes_are_per_recipient_and_a_deferral_is_tried_again() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let sink = Sink::setup()
        .script(move |step, _| match step {
            Step::Rcpt(to) if to.starts_with("greylisted") => {
                match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                    0 | 1 => Do::Reply("451 4.7.1 Greylisted, try again"),
                    _ => Do::Usual,
                }
            }
            Step::Rcpt(to) if to.starts_with("unknown") => Do::Reply("550 5.1.1 No such user"),
            Step::Dot(to) if to.starts_with("spam") => Do::Reply("554 5.7.1 Content refused"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).start().await;
    let names = ["ok", "greylisted", "unknown", "spam"];
    let to: Vec<_> = names.iter().map(|name| format!("{name}@example.net")).collect();
    let mut message = message_to("x@example.net");
    message["to"] = json!(to);
    let id = app.send(&message).await;
    let message = app.settled(&id).await;
    let statuses: Vec<_> = to.iter().map(|to| status_of(&message, to)).collect();
    assert_eq!(statuses, ["delivered", "delivered", "bounced", "bounced"]);
    assert_eq!(message["status"], "partially_delivered");
    let recipients = message["recipients"].as_array().unwrap();
    assert_eq!(recipients[1]["attempts"], 3);
    assert_eq!(recipients[2]["last_reply"]["class"], "bad_mailbox");
    assert_eq!(recipients[2]["last_reply"]["enhanced"], "5.1.1");
    assert_eq!(recipients[3]["last_reply"]["code"], 554);
    let events = app.events(&id).await;
    let of = |email: &str| -> Vec<(i64, String)> {
        let mine = events.iter().filter(|e| e["email"] == email);
        mine.map(|e| (e["sequence"].as_i64().unwrap(), e["type"].as_str().unwrap().replace("message.", ""))).collect()
    };
    let expected = [(1, "queued"), (2, "deferred"), (3, "deferred"), (4, "delivered")];
    assert_eq!(of("greylisted@example.net"), expected.map(|(n, t)| (n, t.to_owned())));
    assert_eq!(of("unknown@example.net"), [(1, "queued"), (2, "bounced")].map(|(n, t)| (n, t.to_owned())));
    let mut copies: Vec<_> = sink.ledger().into_iter().map(|taken| taken.recipient).collect();
    copies.sort();
    assert_eq!(copies, ["greylisted@example.net", "ok@example.net"], "status and ledger agree");
}

#[tokio::test]
async fn sessions_are_kept_and_the_envelope_is_pipelined() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("delivery.sessions", 1).start().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(app.send(&message_to(&format!("r{n}@example.net"))).await);
    }
    for id in &ids {
        app.settled(id).await;
    }
    assert_eq!(sink.taken_count(), 6);
    assert_eq!(sink.connections(), 1, "one session carried them all");
}

#[tokio::test]
async fn a_session_is_closed_after_its_share_of_messages() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("delivery.sessions", 1).set("delivery.messages_per_session", 2);
    let app = app.start().await;
    for n in 0..4 {
        app.settled(&app.send(&message_to(&format!("r{n}@example.net"))).await).await;
    }
    assert_eq!(sink.connections(), 2);
    assert_eq!(sink.most_open(), 1);
}

#[tokio::test]
async fn a_refused_recipient_does_not_cost_the_session() {
    for (extensions, wants_rset) in [(&["PIPELINING"][..], false), (&[], true)] {
        let sink = Sink::setup()
            .extensions(extensions)
            .script(|step, _| match step {
                Step::Rcpt(to) if to.starts_with("bad") => Do::Reply("550 5.1.1 no"),
                _ => Do::Usual,
            })
            .start()
            .await;
        let app = Setup::new().route_to(sink.address).set("delivery.sessions", 1).start().await;
        for name in ["ok1", "bad", "ok2"] {
            app.settled(&app.send(&message_to(&format!("{name}@example.net"))).await).await;
        }
        assert_eq!((sink.connections(), sink.taken_count()), (1, 2));
        assert_eq!(sink.steps().iter().any(|(_, step)| *step == Step::Rset), wants_rset);
    }
}

#[tokio::test]
async fn a_server_that_refuses_and_hangs_up_has_refused() {
    for extensions in [&["PIPELINING"][..], &[]] {
        let sink = Sink::setup()
            .extensions(extensions)
            .script(|step, _| match step {
                Step::Rcpt(_) => Do::ReplyAndDrop("550 5.1.1 no such user"),
                _ => Do::Usual,
            })
            .start()
            .await;
        let app = Setup::new().route_to(sink.address).start().await;
        let message = app.settled(&app.send(&message_to("a@example.net")).await).await;
        assert_eq!(message["recipients"][0]["last_reply"]["class"], "bad_mailbox");
        assert_eq!(message["recipients"][0]["attempts"], 1);
    }
}

#[tokio::test]
async fn a_slow_destination_does_not_hold_up_another() {
    let slow = Sink::setup().script(|step, _| if *step == Step::Connect { Do::Stall } else { Do::Usual }).start().await;
    let fast = Sink::setup().at(std::net::SocketAddr::from(([127, 0, 0, 2], slow.address.port()))).start().await;
    let zone = [
        ("slow.example", crate::support::dns::Zone::A(std::net::Ipv4Addr::LOCALHOST)),
        ("fast.example", crate::support::dns::Zone::A(std::net::Ipv4Addr::new(127, 0, 0, 2))),
    ];
    let dns = crate::support::dns::Dns::start(&zone).await;
    let app = Setup::new()
        .set("dns.servers", dns.address)
        .set("delivery.mx_port", fast.address.port())
        .set("delivery.sessions", 2)
        .set("delivery.concurrency", 64)
        .start()
        .await;
    for n in 0..100 {
        app.send(&message_to(&format!("r{n}@slow.example"))).await;
    }
    let id = app.send(&message_to("a@fast.example")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert!(slow.most_open() <= 2);
}

#[tokio::test]
async fn fresh_mail_goes_before_shards_that_a_full_lane_keeps_pending() {
    let slow = Sink::setup().script(|step, _| if *step == Step::Connect { Do::Stall } else { Do::Usual }).start().await;
    let fast = Sink::setup().at(std::net::SocketAddr::from(([127, 0, 0, 2], slow.address.port()))).start().await;
    let zone = [
        ("slow.example", crate::support::dns::Zone::A(std::net::Ipv4Addr::LOCALHOST)),
        ("fast.example", crate::support::dns::Zone::A(std::net::Ipv4Addr::new(127, 0, 0, 2))),
    ];
    let dns = crate::support::dns::Dns::start(&zone).await;
    // No poll will come to the rescue: only the signal of the fresh message itself.
    let app = Setup::new()
        .set("dns.servers", dns.address)
        .set("delivery.mx_port", fast.address.port())
        .set("delivery.sessions", 1)
        .set("queue.poll", "1h")
        .start()
        .await;
    for n in 0..40 {
        let (key, to) = (format!("slow-{n}"), format!("r{n}@slow.example"));
        let body = message_to(&to).to_string().into_bytes();
        assert_eq!(app.call_as(&app.live, "POST", "/v1/send", &[("idempotency-key", &key)], body).await.status, 202);
    }
    let id = app.send(&message_to("a@fast.example")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
}

#[tokio::test]
async fn a_delivery_whose_lease_was_lost_while_it_waited_is_not_sent() {
    // One session, and the memory to carry one message, held by the first; the second waits for its turn and loses its
    // lease meanwhile.
    let (release, released) = tokio::sync::watch::channel(false);
    let sink = Sink::start().await;
    let front = slow_front(sink.address, released).await;
    let app = Setup::new().route_to(front).set("delivery.sessions", 1).set("queue.lease", "1h");
    let app = app.set("limits.message", "2KiB").set("delivery.bytes_in_flight", "2KiB").start().await;
    let first = app.send(&message_to("first@example.net")).await;
    sink.until_taken(1).await;
    // Too large to be read ahead of its turn.
    let mut large = message_to("second@example.net");
    large["text"] = json!("x".repeat(1_000));
    let second = app.send(&large).await;
    app.until(&second, "the second to be claimed", |m| status_of(m, "second@example.net") == "sending").await;
    let stolen = "UPDATE deliveries SET lease_token = gen_random_uuid(), lease_owner = gen_random_uuid() \
                  WHERE id IN (SELECT id FROM recipients WHERE address = 'second@example.net')";
    app.database.execute(stolen).await;
    release.send(true).unwrap();
    app.settled(&first).await;
    let third = app.send(&message_to("third@example.net")).await;
    app.settled(&third).await;
    assert!(sink.ledger().iter().all(|taken| taken.recipient != "second@example.net"));
}

#[tokio::test]
async fn a_lost_reply_to_the_final_dot_is_uncertain_and_retried_with_the_same_bytes() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let sink = Sink::setup()
        .script(move |step, _| match step {
            Step::Dot(_) if first.swap(false, std::sync::atomic::Ordering::Relaxed) => Do::DropAfter,
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    let copies = sink.ledger();
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0].data, copies[1].data, "Message-ID and Date included");
    let attempts = app.attempts(&id).await;
    assert_eq!(outcomes(&attempts), ["uncertain", "accepted"]);
    assert!(attempts[0]["reply"]["text"].as_str().unwrap().contains("no reply to the final dot"));
    app.until_metric("mailwright_delivery_uncertain_total", 1.0).await;
}

#[tokio::test]
async fn an_expired_message_is_not_tried_any_more() {
    let sink = Sink::setup()
        .script(|step, _| if matches!(step, Step::Mail(_)) { Do::Reply("450 4.2.0 later") } else { Do::Usual })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).start().await;
    let mut message = message_to("a@example.net");
    message["ttl_seconds"] = json!(1);
    let id = app.send(&message).await;
    let message = app.settled(&id).await;
    assert_eq!((status_of(&message, "a@example.net"), &message["status"]), ("expired", &json!("failed")));
    let events = app.events(&id).await;
    assert_eq!(events.iter().filter(|e| e["type"] == "message.expired").count(), 1);
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 0);
    for (field, value) in
        [("expires_at", json!("2020-01-01T00:00:00Z")), ("ttl_seconds", json!(0)), ("expires_at", json!("soon"))]
    {
        let mut late = message_to("a@example.net");
        late[field] = value;
        assert_eq!(app.post("/v1/send", &late).await.status, 422);
    }
}

#[tokio::test]
async fn an_unreachable_next_hop_defers_and_loses_nothing() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let app = Setup::new().route_to(address).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    let deferred = app.until(&id, "a deferral", |m| status_of(m, "a@example.net") == "deferred").await;
    assert_eq!(deferred["recipients"][0]["last_reply"]["class"], "connection");
    assert!(deferred["recipients"][0]["last_reply"]["text"].as_str().unwrap().contains("refused"));
    let explained = app.get(&format!("/v1/messages/{id}/explain")).await.json();
    let meaning = explained["recipients"][0]["last_attempt"]["meaning"].as_str().unwrap();
    assert!(meaning.starts_with("the connection to the mail host could not be made"), "{meaning}");
    let sink = Sink::setup().at(address).start().await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert_eq!(sink.taken_count(), 1);
}

#[tokio::test]
async fn a_session_that_went_stale_costs_the_next_message_nothing() {
    for refusal in [Do::Drop, Do::ReplyAndDrop("421 4.4.2 idle too long")] {
        let sink = Sink::setup()
            .script(move |step, connection| match step {
                Step::Mail(from) if from.starts_with("second") && connection == 0 => refusal.clone(),
                _ => Do::Usual,
            })
            .start()
            .await;
        let app = Setup::new().route_to(sink.address).set("delivery.sessions", 1).start().await;
        app.settled(&app.send(&message_to("a@example.net")).await).await;
        let mut second = message_to("b@example.net");
        second["from"] = json!("second@example.org");
        let id = app.send(&second).await;
        app.settled(&id).await;
        assert_eq!(outcomes(&app.attempts(&id).await), ["accepted"], "no attempt was spent");
        assert_eq!(sink.connections(), 2);
    }
}

#[tokio::test]
async fn a_stalled_peer_is_left_at_its_deadline() {
    for step in [Step::Connect, Step::Ehlo, Step::Data] {
        let stalled = step.clone();
        let sink = Sink::setup()
            .script(move |step, connection| if *step == stalled && connection == 0 { Do::Stall } else { Do::Usual })
            .start()
            .await;
        let mut setup = Setup::new().route_to(sink.address);
        for stage in ["greeting", "ehlo", "mail", "rcpt", "data"] {
            setup = setup.set(&format!("delivery.timeout_{stage}"), "150ms");
        }
        let app = setup.start().await;
        let id = app.send(&message_to("a@example.net")).await;
        app.settled(&id).await;
        let attempts = app.attempts(&id).await;
        assert_eq!(outcomes(&attempts), ["deferred", "accepted"], "{step:?}");
        assert!(
            attempts[0]["reply"]["text"].as_str().unwrap().contains("no whole reply within the deadline"),
            "{step:?}"
        );
    }
}

#[tokio::test]
async fn a_server_without_pipelining_is_spoken_to_step_by_step() {
    let sink = Sink::setup().extensions(&[]).start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert!(!app.attempts(&id).await[0]["transcript"].as_str().unwrap().contains("SIZE="));
}

#[tokio::test]
async fn a_message_over_the_servers_size_bounces_without_a_transfer() {
    let sink = Sink::setup().extensions(&["SIZE 100"]).start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    let message = app.settled(&id).await;
    assert_eq!(message["recipients"][0]["last_reply"]["class"], "too_large");
    assert!(!sink.steps().iter().any(|(_, step)| *step == Step::Data));
}

#[tokio::test]
async fn a_second_smarthost_takes_over() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = nobody.local_addr().unwrap();
    drop(nobody);
    let sink = Sink::start().await;
    let route = format!("smtp://{dead}?tls=none,smtp://{}?tls=none", sink.address);
    let app = Setup::new().set("delivery.route", route).start().await;
    for n in 0..4 {
        let id = app.send(&message_to(&format!("r{n}@example.net"))).await;
        app.settled(&id).await;
        assert_eq!(outcomes(&app.attempts(&id).await), ["accepted"]);
    }
}

#[tokio::test]
async fn a_slow_next_hop_keeps_its_lease_and_gets_one_copy() {
    // The dot is answered long after a lease would have run out; the renewal keeps it.
    let (release, released) = tokio::sync::watch::channel(false);
    let sink = Sink::setup().start().await;
    let front = slow_front(sink.address, released).await;
    let app = Setup::new().route_to(front).set("queue.lease", "1s").start().await;
    let id = app.send(&message_to("a@example.net")).await;
    sink.until_taken(1).await;
    // Renewals are the event to wait for: the expiry moves while the dot waits.
    let expiry = "SELECT (extract(epoch FROM max(lease_until)) * 1000)::bigint FROM deliveries";
    let before = app.database.count(expiry).await;
    let mut watch = app.database.watch().await;
    while app.database.count(expiry).await < before + 1500 {
        watch.changed().await;
    }
    release.send(true).unwrap();
    app.settled(&id).await;
    assert_eq!(sink.taken_count(), 1);
    assert_eq!(outcomes(&app.attempts(&id).await), ["accepted"]);
}

/// Passes bytes to `to`, but holds back the reply to the dot until released.
async fn slow_front(to: std::net::SocketAddr, released: tokio::sync::watch::Receiver<bool>) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let mut released = released.clone();
            tokio::spawn(async move {
                let server = tokio::net::TcpStream::connect(to).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut buffer = vec![0; 4096];
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    if buffer[..count].ends_with(b"taken\r\n") {
                        released.wait_for(|is| *is).await.unwrap();
                    }
                    to_client.write_all(&buffer[..count]).await.unwrap();
                }
            });
        }
    });
    address
}

/// Case 44.
#[tokio::test]
async fn notices_of_non_delivery_go_to_the_return_path() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    for (from, path) in [
        ("shop@example.org", "bounce+1@bounces.example.org"),
        ("Shop <shop@sub.example.org>", "Bounce@SUB.example.org"),
        ("zoe@bücher.example", "bounce@xn--bcher-kva.example"),
    ] {
        let before = sink.taken_count();
        let mut message = message_to("a@example.net");
        message["from"] = json!(from);
        message["return_path"] = json!(path);
        let id = app.send(&message).await;
        app.settled(&id).await;
        let copy = &sink.until_taken(before + 1).await[before];
        assert_eq!(copy.sender.to_lowercase(), path.to_lowercase());
        assert!(!String::from_utf8_lossy(&copy.data).contains("ounce"));
    }
}

#[tokio::test]
async fn mail_of_a_test_key_never_reaches_the_network() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let mut message = message_to("a@example.net");
    message["headers"] = json!({"X-City": "Zürich am See"});
    message["text"] = json!("It works.\nIhr Zürich\nam See: 您的验证码");
    let answer = app.call_as(&app.test, "POST", "/v1/send", &[], message.to_string().into_bytes()).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(app.settled(&id).await["status"], "delivered");
    // ZÜRICH AM SEE; 验证码, "code"; zürich am meer.
    for (words, found) in [("Z%C3%9CRICH+AM+SEE", 1), ("%E9%AA%8C%E8%AF%81%E7%A0%81", 1), ("z%C3%BCrich+am+meer", 0)] {
        let listed = app.get_as(&app.test, &format!("/v1/sandbox/messages?q={words}")).await.json();
        assert_eq!(listed["data"].as_array().unwrap().len(), found, "{words}");
    }
    let inbox = app.get_as(&app.test, "/v1/sandbox/messages?to=a@example.net").await.json();
    assert_eq!(inbox["data"][0]["has_attachments"], false);
    let entry = inbox["data"][0]["id"].as_str().unwrap().to_owned();
    let shown = app.get_as(&app.test, &format!("/v1/sandbox/messages/{entry}")).await.json();
    assert_eq!(shown["subject"], "Hello");
    let headers = shown["headers"].as_array().unwrap();
    let city = headers.iter().find(|header| header["name"] == "X-City").unwrap();
    assert_eq!(city["decoded"], "Zürich am See");
    assert!(city["value"].as_str().unwrap().starts_with("=?"), "{city}");
    assert!(shown["text"].as_str().unwrap().contains("It works."));
    assert!(shown["source"].as_str().unwrap().contains("Message-ID:"));
    assert_eq!(sink.connections(), 0);
    let live = app.send(&message_to("live@example.net")).await;
    app.settled(&live).await;
    assert_eq!(sink.taken_count(), 1);
}

#[tokio::test]
async fn the_whole_pipeline_works_with_one_shard_in_a_transaction() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("database.max_shards_per_tx", 1).start().await;
    let mut ids = Vec::new();
    for n in 0..30 {
        let body = message_to(&format!("r{n}@example.net")).to_string().into_bytes();
        let key = format!("k{n}");
        let answer = app.call_as(&app.live, "POST", "/v1/send", &[("idempotency-key", &key)], body).await;
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    for id in &ids {
        assert_eq!(app.settled(id).await["status"], "delivered");
    }
    assert_eq!(sink.taken_count(), 30);
}

#[tokio::test]
async fn a_stop_drains_what_is_in_hand() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(app.send(&message_to(&format!("r{n}@example.net"))).await);
    }
    let database = std::sync::Arc::clone(&app.database);
    assert_eq!(app.stop().await, mailwright::app::Ended::Drained);
    assert_eq!(database.count("SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL").await, 0);
    let app: App = Setup::new().route_to(sink.address).on(&database).start().await;
    for id in &ids {
        assert_eq!(app.settled(id).await["status"], "delivered");
    }
    assert_eq!(sink.taken_count(), 20, "each once");
}
