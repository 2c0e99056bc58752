//! A real Postfix as the next hop: what it logs and what we record of every attempt are the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to, status_of};
use crate::support::postfix::{Asked, Postfix, policy};
use crate::support::sink::Sink;
use crate::support::tls::TestTls;

/// Greylisting and refusals of many kinds, by the recipient's name.
fn decide(asked: &Asked) -> Option<&'static str> {
    let name = asked.recipient.trim_end_matches(|c: char| c != '-').trim_end_matches('-');
    match (name, &*asked.state, asked.is_first) {
        ("grey", "RCPT", true) => Some("450 4.2.0 Greylisted, see you later"),
        ("busy", "RCPT", true) => Some("421 4.3.2 Too busy"),
        ("gone", "RCPT", _) => Some("550 5.1.1 No such user"),
        ("later", "END-OF-MESSAGE", true) => Some("451 4.7.1 Not just now"),
        ("spam", "END-OF-MESSAGE", _) => Some("554 5.7.1 Content refused"),
        _ => None,
    }
}

/// One answer about a recipient: code, enhanced code, and the words or the queue id.
type Said = (i64, String, String);

/// `451 4.7.1 words` and `250 2.0.0 Ok: queued as ID`.
fn said(reply: &str) -> Said {
    let mut parts = reply.splitn(3, ' ').map(str::to_owned);
    let (code, enhanced, text) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let queue_id = text.rsplit_once("queued as ").map(|(_, id)| id.to_owned());
    (code.parse().unwrap(), enhanced, queue_id.unwrap_or(text))
}

/// What our record says, in order, by recipient: the reply that decided each attempt, and in the transcript before it
/// refusals of this recipient that cost a kept session and no attempt.
async fn recorded(app: &App, ids: &[String]) -> BTreeMap<String, Vec<Said>> {
    let mut all = BTreeMap::<String, Vec<Said>>::new();
    for id in ids {
        for attempt in app.attempts(id).await {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (email, reply) = (text(&attempt["email"]), &attempt["reply"]);
            let last = said(&format!(
                "{} {} {}",
                reply["code"].as_i64().unwrap_or(0),
                text(&reply["enhanced"]),
                text(&reply["text"])
            ));
            assert_eq!(attempt["tls"], "TLSv1_3 validated", "{attempt}");
            let transcript = text(&attempt["transcript"]);
            let mine = format!(" <{email}>: ");
            let heard = transcript.lines().filter_map(|line| line.strip_prefix("S: "));
            let answers = all.entry(email.clone()).or_default();
            answers.extend(heard.filter(|reply| reply.contains(&mine)).map(said).filter(|said| *said != last));
            answers.push(last);
        }
    }
    all
}

/// What Postfix logged, in order, by recipient.
fn logged(lines: &[String]) -> BTreeMap<String, Vec<Said>> {
    let mut all = BTreeMap::<String, Vec<Said>>::new();
    for line in lines {
        let to = line.split_once(" to=<").and_then(|(_, rest)| rest.split_once('>')).map(|(to, _)| to.to_owned());
        if let Some((_, rest)) = line.split_once(" reject: ") {
            let (_, reply) = rest.split_once("]: ").unwrap();
            let (reply, _) = reply.split_once("; from=<").unwrap();
            all.entry(to.unwrap()).or_default().push(said(reply));
        } else if line.contains("status=sent") {
            let queue_id = line.split("]: ").nth(1).unwrap().split(':').next().unwrap();
            all.entry(to.unwrap()).or_default().push((250, "2.0.0".to_owned(), queue_id.to_owned()));
        }
    }
    all
}

/// Messages that were found too large on that port.
fn too_large(log: &[String], port: &str) -> usize {
    let is_one = |line: &&String| line.contains(port) && line.contains("size limit");
    log.iter().filter(is_one).count()
}

fn attempts_of(all: &BTreeMap<String, Vec<Said>>) -> usize {
    all.values().map(Vec::len).sum()
}

#[tokio::test]
async fn a_real_postfix_agrees_with_our_record_of_every_attempt() {
    const EACH: usize = 8;
    let tls = TestTls::new("localhost");
    let onward = Sink::start().await;
    let policy = policy(decide).await;
    let settings = format!(
        "message_size_limit = 40000
smtpd_recipient_restrictions = check_policy_service inet:{policy}
smtpd_end_of_data_restrictions = check_policy_service inet:{policy}
smtpd_tls_chain_files = {}
smtpd_tls_loglevel = 1",
        tls.chain_file.display()
    );
    let services = [
        "-o smtpd_tls_security_level=may",
        "-o smtpd_tls_security_level=encrypt -o smtpd_discard_ehlo_keywords=size,silent-discard",
        "-o smtpd_tls_security_level=encrypt -o smtpd_discard_ehlo_keywords=size,chunking,silent-discard",
    ];
    let mut postfix = Postfix::start(&settings, &services, onward.address).await;
    let mut all = BTreeMap::new();
    for service in 0..services.len() {
        let app = Setup::new()
            .set("delivery.route", format!("smtp://localhost:{}?tls=required", postfix.port(service)))
            .set("delivery.ca_file", tls.ca_file.display())
            .start()
            .await;
        let mut ids = Vec::new();
        for n in 0..EACH {
            for name in ["ok", "grey", "busy", "gone", "later", "spam", "large"] {
                let mut message = message_to(&format!("{name}-{n}.{service}@example.net"));
                if name == "large" {
                    message["text"] = json!("A line of a text that is far too large.\n".repeat(2_000));
                }
                ids.push(app.send(&message).await);
            }
        }
        for id in &ids {
            let message = app.settled(id).await;
            let email = message["recipients"][0]["email"].as_str().unwrap().to_owned();
            let (status, attempts) = match email.split('-').next().unwrap() {
                "ok" => ("delivered", 1..=1),
                // On a session that served others before, a 421 costs a new session and no attempt.
                "busy" => ("delivered", 1..=2),
                "grey" | "later" => ("delivered", 2..=2),
                _ => ("bounced", 1..=1),
            };
            let recipient = &message["recipients"][0];
            assert_eq!(recipient["status"], status, "{email}: {recipient}");
            assert!(attempts.contains(&recipient["attempts"].as_u64().unwrap()), "{email}: {recipient}");
        }
        all.extend(recorded(&app, &ids).await);
        let raw = app.get(&format!("/v1/messages/{}/raw", ids[0])).await.bytes;
        let copy = onward.ledger().into_iter().find(|taken| taken.recipient == format!("ok-0.{service}@example.net"));
        // Postfix puts a Received field above it.
        assert!(copy.unwrap().data.ends_with(&raw), "what was stored came through");
        app.stop().await;
    }
    // Postfix names no recipient of what is too large; where it announces its limit, it hears of nothing.
    let large: BTreeMap<_, _> = all.extract_if(.., |email, _| email.starts_with("large-")).collect();
    for (email, answers) in &large {
        // Where it announced its limit it was not asked, and said nothing.
        let is_announced = (answers[0].0, &*answers[0].1) == (0, "");
        assert!(
            answers.len() == 1 && (is_announced || (answers[0].0, &*answers[0].1) == (552, "5.3.4")),
            "{email}: {answers:?}"
        );
    }
    let count = attempts_of(&all);
    let is_whole = |log: &[String]| attempts_of(&logged(log)) >= count && too_large(log, "port2") >= EACH;
    let log = postfix.until("as many answers as we have attempts", is_whole).await;
    assert_eq!(logged(&log), all);
    assert_eq!(["port0", "port1", "port2"].map(|port| too_large(&log, port)), [0, EACH, EACH]);
    assert_eq!(onward.taken_count(), all.values().flatten().filter(|said| said.0 == 250).count(), "and nothing else");
    let count = |what: &str| log.iter().filter(|line| line.contains("smtpd[") && line.contains(what)).count();
    assert_eq!(count(" connect from"), count(": TLSv1.3 with cipher"), "no session went on in the clear");
}

#[tokio::test]
async fn a_real_postfix_that_wants_tls_refuses_what_comes_in_the_clear() {
    let tls = TestTls::new("localhost");
    let onward = Sink::start().await;
    let settings = format!("smtpd_recipient_restrictions =\nsmtpd_tls_chain_files = {}", tls.chain_file.display());
    let services = ["-o smtpd_tls_security_level=encrypt"];
    let mut postfix = Postfix::start(&settings, &services, onward.address).await;
    for (policy, status, code) in [("none", "deferred", 530), ("opportunistic", "delivered", 250)] {
        let route = format!("smtp://localhost:{}?tls={policy}", postfix.port(0));
        let app = Setup::new().set("delivery.route", route).set("delivery.retry", "1h").start().await;
        let id = app.send(&message_to("a@example.net")).await;
        app.until(&id, status, |message| status_of(message, "a@example.net") == status).await;
        let attempts = app.attempts(&id).await;
        assert_eq!((attempts.len(), &attempts[0]["reply"]["code"]), (1, &json!(code)), "{attempts:?}");
        app.stop().await;
    }
    let counts =
        |log: &[String], what: &str| log.iter().any(|line| line.contains(" disconnect ") && line.contains(what));
    postfix.until("both to leave", |log| counts(log, " mail=0/1 ") && counts(log, " mail=1 ")).await;
    assert_eq!(onward.taken_count(), 1);
}
