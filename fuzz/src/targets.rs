//! What is fuzzed: everything that strangers' bytes reach. Each takes any bytes, and must neither panic nor grow.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mailwright::classify::Classifier;
use mailwright::compose::{Submitted, content_digest, header_of};
use mailwright::domain::address::Address;
use mailwright::domain::budget::Budget;
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
use mailwright::smtp::server::{
    Answer, BLOCK, Bounds, Credentials, Envelope as Said, Receiver, Service, Shared, Tls, serve,
};

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

/// A connection on which everything has come at once.
struct Heard<'b> {
    said: &'b [u8],
    answers: Vec<u8>,
}

impl tokio::io::AsyncRead for Heard<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        // In pieces of different sizes, as the network brings them.
        let count = self.said.len().min(buffer.remaining()).min(1 + self.said.len() % 97);
        let (now, later) = self.said.split_at(count);
        buffer.put_slice(now);
        self.said = later;
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Heard<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.answers.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Takes everything, and looks at it as the door does.
struct Anybody;

impl Receiver for Anybody {
    async fn authenticate(&mut self, _: Credentials) -> Answer {
        Answer::new(235, "2.7.0", "ok")
    }

    async fn rcpt(&mut self, path: &str) -> Answer {
        match Address::parse(path) {
            Ok(_) => Answer::new(250, "2.1.5", path),
            Err(error) => Answer::new(553, "5.1.3", error.to_string()),
        }
    }

    async fn data(&mut self, envelope: Said, message: Vec<u8>) -> Answer {
        assert!(message.len() <= MESSAGE_MAX && !envelope.to.is_empty() && envelope.to.len() <= 5);
        let _ = (header_of(&message), content_digest(&message));
        if let Ok(submitted) = Submitted::read(&message) {
            let values: usize = submitted.fields().iter().map(|field| field.value().len()).sum();
            assert!(values <= message.len() * 4, "values do not grow");
        }
        Answer::new(250, "2.0.0", "ok")
    }
}

/// Octets of a message in the sessions that are fuzzed.
const MESSAGE_MAX: usize = 4096;

/// What a program says in a session, whether or not it waits: each command has one reply, a line of printable ASCII, and it ends.
pub fn submission(bytes: &[u8]) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let is_report = bytes.first().is_some_and(|byte| *byte == b'R');
    let span = Duration::from_secs(5);
    let shared = Shared {
        name: "fuzz.example".into(),
        service: if is_report { Service::Reports } else { Service::Submission { in_clear: true } },
        bounds: Bounds {
            message: MESSAGE_MAX,
            recipients: 5,
            messages: 10,
            commands: 100,
            errors: 20,
            command: span,
            data: span,
            stall: span,
            unknown: span,
            session: span,
        },
        memory: Budget::new(4 * BLOCK, BLOCK),
        stopping: tokio_util::sync::CancellationToken::new(),
    };
    let mut heard = Heard { said: bytes, answers: Vec::new() };
    RUNTIME.with(|runtime| runtime.block_on(serve(&mut heard, &mut Anybody, &shared, Tls::None)));
    let answers = String::from_utf8(heard.answers).expect("ASCII");
    for line in answers.split_terminator("\r\n") {
        assert!(line.len() < 512 && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        let (code, rest) = line.split_at(3);
        assert!(code.parse::<u16>().is_ok() && (rest.starts_with(' ') || rest.starts_with('-')), "{line:?}");
    }
    assert!(shared.memory.is_free(), "what was held is given back");
}
