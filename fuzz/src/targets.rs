//! What is fuzzed: everything that strangers' bytes reach. Each takes any bytes, and must neither panic nor grow.

use mailwright::classify::Classifier;
use mailwright::domain::address::Address;
use mailwright::domain::envelope::{Envelope, Needs};
use mailwright::domain::reverse_path::ReversePath;
use mailwright::domain::route::TlsPolicy;
use mailwright::domain::stage::Stage;
use mailwright::feedback;
use mailwright::net::dns::read_answer;
use mailwright::net::validated::{Kind, judge};
use mailwright::routing::sts::{Policy, record_id};
use mailwright::smtp::client::dialogue::{Action, Dialogue};
use mailwright::smtp::reply::ReplyReader;

/// Bytes that a reader may hold beyond what it was given at once.
const HELD_MAX: usize = 64 << 10;

/// A server's side of a whole conversation, and the judgement of its last reply.
pub fn reply(bytes: &[u8]) {
    let policies = [TlsPolicy::None, TlsPolicy::Opportunistic, TlsPolicy::Required, TlsPolicy::Dane];
    let policy = policies[bytes.first().map_or(0, |byte| usize::from(byte % 4))];
    let mut dialogue = Dialogue::new("fuzz.example", policy, None);
    let mut reader = ReplyReader::default();
    let address = |text| Address::parse(text).expect("a sound address");
    let envelope = Envelope {
        reverse_path: ReversePath::Address(address("a@b.example")),
        recipient: address("c@d.example"),
        size: 100,
        needs: Needs::default(),
        id: "msg_1".to_owned(),
    };
    for chunk in bytes.chunks(61) {
        reader.space().extend_from_slice(chunk);
        loop {
            let raw = match reader.next_reply() {
                Ok(Some(raw)) => raw,
                Ok(None) => break,
                Err(_) => return,
            };
            let reply = raw.to_reply();
            assert!(reply.text.len() <= HELD_MAX && !reply.text.contains(char::is_control));
            let mut action = dialogue.on_reply(&raw);
            loop {
                action = match action {
                    Action::Send(_) | Action::Read => break,
                    Action::SendBody | Action::SendChunk(_) => dialogue.on_body_sent(bytes.len().is_multiple_of(2)),
                    Action::Secure => dialogue.on_secured(),
                    Action::Ready => dialogue.begin(&envelope, true),
                    Action::Done(_) if dialogue.is_pending() => dialogue.resume(&envelope),
                    Action::Done(_) if dialogue.is_reusable() => dialogue.begin(&envelope, false),
                    Action::Done(_) | Action::Close(..) => return,
                };
                if matches!(action, Action::Done(_)) && !dialogue.is_pending() {
                    return;
                }
            }
        }
    }
}

/// Answers of name servers.
pub fn dns(bytes: &[u8]) {
    let _ = read_answer(bytes);
    for kind in [Kind::Mx, Kind::A, Kind::Aaaa, Kind::Tlsa] {
        let _ = judge(bytes, kind);
    }
}

/// MTA-STS records and policies, and replies as the rule pack judges them.
pub fn policy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if let Ok(policy) = Policy::parse(&text) {
        policy.names("mx.example.net");
    }
    let _ = record_id(std::slice::from_ref(&text));
    thread_local! {
        static RULES: Classifier = Classifier::default();
    }
    let reply = mailwright::domain::reply::Reply { code: 550, enhanced: None, text };
    RULES.with(|rules| rules.judge(Stage::Rcpt, Some("qq"), &reply));
}

/// Mail that came back: what is kept of it is little, however much it says.
pub fn feedback(bytes: &[u8]) {
    let Some(reading) = feedback::read(bytes) else { return };
    let named = reading.recipients.iter().map(|one| &one.address).chain(&reading.mentioned);
    let (count, length) = named.fold((0, 0), |(count, length), address| (count + 1, length + address.len()));
    assert!(count <= 200 && length <= HELD_MAX * 8, "{count} addresses of {length} bytes");
}
