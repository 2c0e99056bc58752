//! Servers that misbehave in every way that was met so far, at every stage: nothing is lost, nothing is delivered
//! twice without a record of it, and nothing is held up for longer than a deadline.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::app::{Setup, message_to, status_of};
use crate::support::sink::{Do, Gate, Sink, Step};
use crate::support::tls::TestTls;

fn outcomes(attempts: &[Value]) -> Vec<&str> {
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect()
}

/// What comes instead of a reply.
const GARBAGE: [&[u8]; 7] =
    [b"hello\r\n", b"\0\0\0\r\n", b"999 x\r\n", b"250-a\r\n550 b\r\n", b"2500 x\r\n", b"\xff\xfe\xfd\r\n", b"25\r\n"];

fn stage_of(step: &Step) -> &'static str {
    match step {
        Step::Connect => "greeting",
        Step::Ehlo => "ehlo",
        Step::Mail(_) => "mail",
        Step::Rcpt(_) => "rcpt",
        Step::Data => "data",
        Step::Dot(_) => "dot",
        _ => "other",
    }
}

#[tokio::test]
async fn garbage_of_every_kind_at_every_stage_is_no_delivery() {
    let endless: &'static [u8] = vec![b'2'; 100_000].leak();
    let kinds: Vec<_> = GARBAGE.into_iter().chain([endless]).collect();
    for stage in ["greeting", "ehlo", "mail", "rcpt", "data", "dot"] {
        // Each connection hears another kind.
        let heard = kinds.clone();
        let sink = Sink::setup()
            .extensions(&[])
            .script(move |step, connection| match heard.get(connection) {
                Some(garbage) if stage_of(step) == stage => Do::Bytes(garbage),
                _ => Do::Usual,
            })
            .start()
            .await;
        let setup = Setup::new().route_to(sink.address).set("delivery.retry", "10ms");
        let setup = setup.set("delivery.uncertain_delay", "10ms").set("delivery.pause", "10ms");
        let setup = setup.set("delivery.uncertain_tries", kinds.len() + 1);
        let app = setup.set("delivery.pause_max", "10ms").start().await;
        let id = app.send(&message_to("a@example.net")).await;
        assert_eq!(app.settled(&id).await["status"], "delivered", "{stage}");
        let attempts = app.attempts(&id).await;
        assert_eq!((attempts.len(), sink.taken_count()), (kinds.len() + 1, 1), "{stage}");
        for attempt in &attempts[..kinds.len()] {
            let wanted = if stage == "dot" { "uncertain" } else { "deferred" };
            assert_eq!((&attempt["outcome"], &attempt["stage"]), (&json!(wanted), &json!(stage)), "{attempt}");
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_reading_or_never_says_goodbye_costs_no_later_message() {
    // The body is larger than what lies between us and a server that does not read.
    let deaf = |step: &Step, connection| match step {
        Step::Data if connection == 0 => Do::Deaf("354 go ahead"),
        Step::Quit => Do::Stall,
        _ => Do::Usual,
    };
    let sink = Sink::setup().extensions(&[]).script(deaf).start().await;
    let setup = Setup::new().route_to(sink.address).set("delivery.messages_per_session", 1);
    let setup = setup.set("delivery.timeout_body", "400ms").set("delivery.timeout_quit", "300ms");
    let app = setup.start().await;
    let mut large = message_to("a@example.net");
    large["text"] = json!("A line of a long text.\n".repeat(400_000));
    for message in [&large, &message_to("b@example.net")] {
        let id = app.send(message).await;
        assert_eq!(app.settled(&id).await["status"], "delivered");
        let attempts = app.attempts(&id).await;
        if message == &large {
            assert_eq!((outcomes(&attempts), &attempts[0]["stage"]), (vec!["deferred", "accepted"], &json!("body")));
        }
    }
    assert_eq!(app.stop().await, mailwright::app::Ended::Drained, "no session is held");
}

#[tokio::test]
async fn a_server_that_takes_ten_messages_a_session_and_then_says_421_costs_no_attempt() {
    for extensions in [&["PIPELINING"][..], &[], &["PIPELINING", "CHUNKING"]] {
        let mails = Mutex::new(HashMap::<usize, usize>::new());
        // All of them wait before the first is spoken of, so that envelopes follow bodies.
        let gate = Gate::closed();
        let held = gate.held();
        let sink = Sink::setup()
            .extensions(extensions)
            .script(move |step, connection| match step {
                Step::Connect => held.clone(),
                Step::Mail(_) => {
                    let mut mails = mails.lock().unwrap();
                    let count = mails.entry(connection).or_default();
                    *count += 1;
                    if *count > 10 { Do::ReplyAndDrop("421 4.7.0 too many messages") } else { Do::Usual }
                }
                _ => Do::Usual,
            })
            .start()
            .await;
        let app = Setup::new().route_to(sink.address).set("delivery.sessions", 3).start().await;
        for n in 0..300 {
            app.send(&message_to(&format!("r{n}@example.net"))).await;
        }
        gate.open();
        sink.until_taken(300).await;
        app.database.until_count("SELECT count(*) FROM deliveries", 0).await;
        assert_eq!(sink.taken_count(), 300, "none came twice");
        assert_eq!(app.database.count("SELECT count(*) FROM attempts").await, 300, "and none was tried twice");
        assert!(sink.connections() >= 30);
    }
}

#[tokio::test]
async fn a_kept_session_that_ends_under_a_message_with_another_behind_it_costs_neither_an_attempt() {
    let gate = Gate::closed();
    let held = gate.held();
    let sink = Sink::setup()
        .extensions(&["PIPELINING", "CHUNKING"])
        .script(move |step, connection| match step {
            Step::Dot(to) if to.starts_with('a') => held.clone(),
            Step::Mail(from) if from.starts_with("late") && connection == 0 => Do::ReplyAndDrop("421 4.3.2 bye"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).set("delivery.sessions", 1).set("delivery.retry", "1h");
    let app = app.start().await;
    for n in 0..4 {
        // A lane that has shown what it can do may have more in hand.
        app.settled(&app.send(&message_to(&format!("x{n}@example.net"))).await).await;
    }
    let first = app.send(&message_to("a@example.net")).await;
    // Its body is gone: what comes now does not follow it, but begins on its session, one behind the other.
    sink.until_taken(5).await;
    let mut ids = vec![first];
    for name in ["b", "c", "d"] {
        let mut message = message_to(&format!("{name}@example.net"));
        message["from"] = json!("late@example.org");
        ids.push(app.send(&message).await);
    }
    gate.open();
    for id in &ids {
        assert_eq!(app.settled(id).await["status"], "delivered");
        assert_eq!(outcomes(&app.attempts(id).await), ["accepted"]);
    }
}

#[tokio::test]
async fn a_421_to_every_third_mail_defers_nobody_else() {
    let mails = std::sync::atomic::AtomicUsize::new(0);
    let sink = Sink::setup()
        .script(move |step, _| match step {
            Step::Mail(_) if mails.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 == 2 => {
                Do::ReplyAndDrop("421 4.3.2 restarting")
            }
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).set("delivery.sessions", 2).start().await;
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(app.send(&message_to(&format!("r{n}@example.net"))).await);
    }
    for id in &ids {
        assert_eq!(app.settled(id).await["status"], "delivered");
        // It was said to this message on its own, new session, or it costs no attempt.
        for attempt in app.attempts(id).await {
            let is_its_own = attempt["transcript"].as_str().unwrap().contains("S: 421 ");
            assert!(attempt["outcome"] == "accepted" || is_its_own, "{attempt}");
        }
    }
    assert_eq!(sink.taken_count(), 60);
}

#[tokio::test]
async fn five_hundred_lost_replies_are_five_hundred_uncertain_attempts_and_second_copies() {
    const MESSAGES: usize = 500;
    let seen = Mutex::new(std::collections::HashSet::new());
    let sink = Sink::setup()
        .script(move |step, _| match step {
            Step::Dot(to) if seen.lock().unwrap().insert(to.clone()) => Do::DropAfter,
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).set("delivery.pause", "20ms").set("delivery.pause_max", "20ms");
    let app = app.start().await;
    for n in 0..MESSAGES {
        app.send(&message_to(&format!("r{n}@example.net"))).await;
    }
    app.database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let mut copies: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for taken in sink.ledger() {
        copies.entry(taken.recipient).or_default().push(taken.data);
    }
    assert_eq!(copies.len(), MESSAGES);
    assert!(copies.values().all(|copies| copies.len() == 2 && copies[0] == copies[1]), "two each, the same bytes");
    let uncertain = "SELECT count(*) FROM attempts WHERE outcome = 'uncertain' AND number = 1";
    assert_eq!(app.database.count(uncertain).await, 500);
    app.until_metric("mailwright_delivery_uncertain_total", 500.0).await;
}

#[tokio::test]
async fn starttls_that_is_answered_with_garbage_or_silence_never_ends_in_the_clear_when_tls_is_required() {
    let answers = [Do::Bytes(b"220 go ahead\r\n500 not tls\r\n"), Do::Deaf("220 go ahead"), Do::Stall];
    for (answer, policy) in answers.iter().flat_map(|answer| [(answer, "required"), (answer, "opportunistic")]) {
        let action = answer.clone();
        let sink = Sink::setup()
            .extensions(&["PIPELINING", "STARTTLS", "AUTH PLAIN"])
            .script(move |step, _| if *step == Step::StartTls { action.clone() } else { Do::Usual })
            .start()
            .await;
        let credentials = if policy == "required" { "user:pass@" } else { "" };
        let route = format!("smtp://{credentials}localhost:{}?tls={policy}", sink.address.port());
        let setup = Setup::new().set("delivery.route", route).set("delivery.retry", "1h");
        let app = setup.set("delivery.timeout_starttls", "300ms").start().await;
        let id = app.send(&message_to("a@example.net")).await;
        let wanted = |m: &Value| ["delivered", "deferred"].contains(&status_of(m, "a@example.net"));
        let message = app.until(&id, "an attempt", wanted).await;
        let steps = sink.steps();
        let in_clear = |(connection, step): &(usize, Step)| {
            let had_tls = steps.iter().any(|(other, step)| other == connection && *step == Step::StartTls);
            matches!(step, Step::Mail(_) | Step::Auth(_)) && had_tls
        };
        assert!(
            !steps.iter().any(in_clear),
            "{answer:?} {policy}: nothing on a connection whose TLS failed: {steps:?}"
        );
        if policy == "required" {
            assert_eq!(status_of(&message, "a@example.net"), "deferred", "{answer:?}");
            assert!(!steps.iter().any(|(_, step)| matches!(step, Step::Mail(_) | Step::Auth(_))), "{steps:?}");
        } else if status_of(&message, "a@example.net") == "delivered" {
            assert_eq!(app.attempts(&id).await[0]["tls"], "none");
            assert!(!sink.ledger()[0].tls);
        }
    }
}

#[tokio::test]
async fn a_misnamed_certificate_is_taken_when_tls_is_opportunistic_alone() {
    let tls = TestTls::new("other.example");
    for (policy, status) in [("opportunistic", "delivered"), ("required", "deferred")] {
        let sink = Sink::setup().starttls(tls.acceptor.clone()).start().await;
        let route = format!("smtp://localhost:{}?tls={policy}", sink.address.port());
        let setup = Setup::new().set("delivery.route", route).set("delivery.ca_file", tls.ca_file.display());
        let app = setup.set("delivery.retry", "1h").start().await;
        let id = app.send(&message_to("a@example.net")).await;
        app.until(&id, status, |m| status_of(m, "a@example.net") == status).await;
        assert_eq!(sink.taken_count(), usize::from(policy == "opportunistic"));
    }
}

/// Delivers one message, and then another, to a server of that kind; returns the attempts of both.
async fn two_messages(sink: &Sink, query: &str) -> [Vec<Value>; 2] {
    let setup = Setup::new().set("delivery.route", format!("smtp://{}{query}", sink.address));
    let app = setup.set("delivery.timeout_dot", "1s").set("delivery.timeout_starttls", "1s").start().await;
    let mut attempts = [vec![], vec![]];
    for (number, attempts) in attempts.iter_mut().enumerate() {
        let id = app.send(&message_to(&format!("r{number}@example.net"))).await;
        assert_eq!(app.settled(&id).await["status"], "delivered", "{:?}", app.attempts(&id).await);
        *attempts = app.attempts(&id).await;
    }
    attempts
}

#[tokio::test]
async fn a_chunk_that_is_refused_as_a_command_is_followed_by_data_and_remembered() {
    for extensions in [&["PIPELINING", "CHUNKING"][..], &["CHUNKING"]] {
        for reply in ["500 what", "501 5.5.4 no", "502 5.5.2 not here", "503 5.5.1 order", "504 no", "555 no"] {
            let script = move |step: &Step, _| if *step == Step::Bdat { Do::Reply(reply) } else { Do::Usual };
            let sink = Sink::setup().extensions(extensions).script(script).start().await;
            let [first, second] = two_messages(&sink, "?tls=none").await;
            assert_eq!((outcomes(&first), outcomes(&second)), (vec!["accepted"], vec!["accepted"]), "{reply}");
            let transcript = second[0]["transcript"].as_str().unwrap();
            assert!(transcript.contains("DATA") && !transcript.contains("BDAT"), "{reply}: {transcript}");
        }
    }
}

#[tokio::test]
async fn a_chunk_that_is_never_answered_is_uncertain_once_and_data_carries_the_next_try() {
    for action in [Do::Drop, Do::Stall] {
        let script = move |step: &Step, _| if *step == Step::Bdat { action.clone() } else { Do::Usual };
        let sink = Sink::setup().extensions(&["CHUNKING"]).script(script).start().await;
        let [first, second] = two_messages(&sink, "?tls=none").await;
        assert_eq!((outcomes(&first), outcomes(&second)), (vec!["uncertain", "accepted"], vec!["accepted"]));
    }
}

#[tokio::test]
async fn a_chunk_refused_for_what_it_holds_is_a_refusal() {
    let script = |step: &Step, _| if *step == Step::Bdat { Do::Reply("554 5.7.1 spam") } else { Do::Usual };
    let sink = Sink::setup().extensions(&["CHUNKING"]).script(script).start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "failed");
    assert_eq!(sink.connections(), 1);
}

#[tokio::test]
async fn starttls_that_is_offered_and_does_not_work_costs_a_connection_and_no_delivery() {
    let extensions: &[&str] = &["PIPELINING", "CHUNKING", "STARTTLS"];
    for action in [
        Do::Drop,
        Do::Stall,
        Do::ReplyAndDrop("500 5.5.1 what"),
        Do::ReplyAndDrop("421 4.7.0 no"),
        Do::ReplyAndDrop("454 4.7.0 TLS not available"),
        Do::ReplyAndDrop("220 go ahead"),
    ] {
        let shown = format!("{action:?}");
        let script = move |step: &Step, _| if *step == Step::StartTls { action.clone() } else { Do::Usual };
        let sink = Sink::setup().extensions(extensions).script(script).start().await;
        let [first, second] = two_messages(&sink, "?tls=opportunistic").await;
        assert_eq!((outcomes(&first), outcomes(&second)), (vec!["accepted"], vec!["accepted"]), "{shown}");
        let steps = sink.steps().into_iter().filter(|(_, step)| *step == Step::StartTls).count();
        assert_eq!(steps, 1, "{shown}: the second message does not ask again");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_behind_the_handshake_gets_its_mail_in_the_clear() {
    let tls = TestTls::new("mx.example");
    let ehlos = std::sync::Arc::new(Mutex::new(HashMap::<usize, usize>::new()));
    let script = move |step: &Step, connection| {
        let mut ehlos = ehlos.lock().unwrap();
        let count = ehlos.entry(connection).or_default();
        *count += usize::from(*step == Step::Ehlo);
        if *step == Step::Ehlo && *count == 2 { Do::Drop } else { Do::Usual }
    };
    let sink = Sink::setup().starttls(tls.acceptor).script(script).start().await;
    let [first, _] = two_messages(&sink, "?tls=opportunistic").await;
    assert_eq!(outcomes(&first), ["accepted"]);
    assert!(!sink.ledger()[0].tls);
}

#[tokio::test]
async fn a_server_that_hangs_up_on_ehlo_is_greeted_by_helo() {
    let script = |step: &Step, connection| if *step == Step::Ehlo && connection == 0 { Do::Drop } else { Do::Usual };
    let sink = Sink::setup().script(script).start().await;
    let [first, _] = two_messages(&sink, "?tls=opportunistic").await;
    assert_eq!(outcomes(&first), ["accepted"]);
    assert!(sink.lines().iter().any(|line| line.starts_with("HELO ")), "{:?}", sink.lines());
}
