//! The hot pieces of a message's life, each alone, for messages of 4 KiB and where it matters of 64 KiB.
//! `mailwright bench` measures the whole; this says which piece a change of it comes from.
//!
//! ```text
//! cargo bench --bench pieces                 # every piece that needs no store
//! cargo bench --bench pieces -- smtp         # those whose names contain a word
//! cargo run --release -- with-postgres --data-dir /tmp/mailwright-pieces -- cargo bench --bench pieces
//! ```
//!
//! The store's pieces need `DATABASE_URL`, as the third line gives it, of a server on which databases may be
//! made: theirs is a fresh one, dropped at the end. They are whole commits, with the disk in them: compare them
//! on one machine only.

#![expect(clippy::unwrap_used, reason = "a piece that cannot run has no time")]

#[path = "pieces/store.rs"]
mod store;

use std::io::Write;

use divan::counter::BytesCount;
use divan::{Bencher, Divan, black_box};
use mailwright::compose::{Stamp, compose};
use mailwright::domain::address::{Address, NamedAddress};
use mailwright::domain::clock::Timestamp;
use mailwright::domain::draft::{Body, Draft, DraftParts, Options, Recipients, Subject, Tag};
use time::macros::datetime;

/// Bytes of text.
const SIZES: [usize; 2] = [4 << 10, 64 << 10];
const SMALL: usize = SIZES[0];
const NOW: Timestamp = datetime!(2026-11-22 10:00 UTC);

fn main() {
    let divan = Divan::from_args();
    if store::is_there() {
        divan.main();
        store::remove();
    } else {
        let _ = writeln!(std::io::stderr(), "pieces: DATABASE_URL is not set; the store's pieces are skipped");
        divan.skip_regex("store::").main();
    }
}

/// Lines as people write them, `size` bytes in all.
fn text(size: usize) -> String {
    let mut text = "Your order has left our warehouse; it arrives within three days.\n".repeat(size / 64 + 1);
    // A line that ended in white space would have to be encoded.
    text.truncate(size - 2);
    text.push_str(".\n");
    text
}

fn html(size: usize) -> String {
    format!("<!doctype html><html><body>{}</body></html>", text(size).replace('\n', "</p>\n<p>"))
}

fn draft(body: Body) -> Draft {
    let named = |text| NamedAddress::parse(text).unwrap();
    let mut options = Options { tags: vec![Tag::parse("order".to_owned()).unwrap()], ..Options::default() };
    options.metadata.insert("order".to_owned(), "4711".to_owned()).unwrap();
    let recipients = Recipients::new(vec![named("Ann Lee <ann@example.net>")], vec![], vec![], 1).unwrap();
    let subject = Subject::parse("Your order has left our warehouse".to_owned()).unwrap();
    Draft::new(DraftParts { options, ..DraftParts::plain(named("Shop <shop@example.org>"), recipients, subject, body) })
}

fn plain(size: usize) -> Draft {
    draft(Body::new(Some(text(size)), None).unwrap())
}

fn composed(size: usize) -> Vec<u8> {
    let stamp = Stamp {
        message_id: "0192f3a4@example.org".to_owned(),
        date: NOW,
        boundary: "0192f3a4".to_owned(),
        links: None,
    };
    compose(&plain(size), &stamp).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

mod request {
    use mailwright::config::Limits;
    use mailwright::request::found::Found;
    use mailwright::request::send::{Context, read};
    use serde_json::{Map, Value, json};

    use super::{Bencher, BytesCount, NOW, SIZES, black_box, text};

    /// From the bytes of a request's body to a draft.
    #[divan::bench(args = SIZES)]
    fn parse_and_validate(bencher: Bencher<'_, '_>, size: usize) {
        let body = json!({
            "from": "Shop <shop@example.org>",
            "to": [{ "email": "ann@example.net", "name": "Ann Lee" }],
            "subject": "Your order has left our warehouse",
            "text": text(size),
            "tags": ["order"],
            "metadata": { "order": "4711" },
        });
        let body = serde_json::to_vec(&body).unwrap();
        let limits = Limits::default();
        bencher.counter(BytesCount::new(body.len())).bench_local(|| {
            let map: Map<String, Value> = serde_json::from_slice(black_box(&body)).unwrap();
            read(map, "", None, &Context { limits: &limits, now: NOW, found: &Found::default() }).unwrap()
        });
    }
}

mod composing {
    use super::{Bencher, Body, BytesCount, Draft, NOW, SIZES, Stamp, black_box, compose, draft, html, plain, text};

    fn bench(bencher: Bencher<'_, '_>, draft: &Draft) {
        let stamp = Stamp {
            message_id: "0192f3a4@example.org".to_owned(),
            date: NOW,
            boundary: "0192f3a4".to_owned(),
            links: None,
        };
        let length = compose(draft, &stamp).unwrap().len();
        bencher.counter(BytesCount::new(length)).bench_local(|| compose(black_box(draft), &stamp).unwrap());
    }

    #[divan::bench(args = SIZES)]
    fn plain_text(bencher: Bencher<'_, '_>, size: usize) {
        bench(bencher, &plain(size));
    }

    #[divan::bench(args = SIZES)]
    fn text_and_html(bencher: Bencher<'_, '_>, size: usize) {
        bench(bencher, &draft(Body::new(Some(text(size)), Some(html(size))).unwrap()));
    }
}

mod dkim {
    use std::sync::Arc;

    use mailwright::compose::dkim::{SigningKey, generate, sign};
    use mailwright::domain::dkim::Algorithm;

    use super::{Bencher, BytesCount, NOW, SIZES, composed};

    fn bench(bencher: Bencher<'_, '_>, size: usize, algorithm: Algorithm) {
        let key = generate(algorithm).unwrap();
        let key = Arc::new(SigningKey::parse("example.org", "bench", algorithm, &key).unwrap());
        let raw = composed(size);
        bencher
            .counter(BytesCount::new(raw.len()))
            .with_inputs(|| raw.clone())
            .bench_values(|raw| sign(raw, std::slice::from_ref(&key), NOW).unwrap());
    }

    #[divan::bench(args = SIZES)]
    fn sign_rsa2048(bencher: Bencher<'_, '_>, size: usize) {
        bench(bencher, size, Algorithm::RsaSha256);
    }

    #[divan::bench(args = SIZES)]
    fn sign_ed25519(bencher: Bencher<'_, '_>, size: usize) {
        bench(bencher, size, Algorithm::Ed25519Sha256);
    }
}

mod smtp {
    use mailwright::classify::Classifier;
    use mailwright::domain::envelope::{Envelope, Needs};
    use mailwright::domain::route::TlsPolicy;
    use mailwright::domain::stage::Stage;
    use mailwright::smtp::client::dialogue::{Action, Dialogue, TransactionResult};
    use mailwright::smtp::reply::{RawReply, ReplyReader};
    use mailwright::smtp::stuffing::dot_stuffed;

    use super::{Bencher, BytesCount, SIZES, SMALL, address, black_box, composed};
    use mailwright::domain::reverse_path::ReversePath;

    const HELLO: &str = "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n\
                         250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8\r\n";
    const HELLO_CHUNKING: &str = "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n\
                                  250-CHUNKING\r\n250 SMTPUTF8\r\n";
    const ACCEPTED: &str = "250 2.0.0 Ok: queued as 4Xr7pQ2m1Zz9\r\n";

    /// What a server says, reply by reply.
    fn replies(script: &str) -> Vec<RawReply> {
        let mut reader = ReplyReader::default();
        reader.space().extend_from_slice(script.as_bytes());
        std::iter::from_fn(|| reader.next_reply().unwrap()).collect()
    }

    /// A session that was opened, before its first message.
    fn opened(hello: &str) -> Dialogue {
        let mut dialogue = Dialogue::new("mail.example.org", TlsPolicy::None, None);
        for reply in replies(&format!("220 mx.example.net ESMTP\r\n{hello}")) {
            dialogue.on_reply(&reply);
        }
        dialogue
    }

    /// One message on an open session, all but the sockets.
    fn transact(dialogue: &mut Dialogue, envelope: &Envelope, replies: &[RawReply]) -> TransactionResult {
        let mut replies = replies.iter();
        let mut action = dialogue.begin(envelope, true);
        loop {
            action = match action {
                Action::Done(verdict) => return verdict,
                Action::SendBody => dialogue.on_body_sent(false),
                Action::SendChunk(bytes) => {
                    black_box(bytes);
                    dialogue.on_body_sent(false)
                }
                Action::Send(bytes) => {
                    black_box(bytes);
                    Action::Read
                }
                Action::Read => dialogue.on_reply(replies.next().unwrap()),
                other => panic!("{other:?} in the middle of a transaction"),
            };
        }
    }

    fn bench_transaction(bencher: Bencher<'_, '_>, hello: &str, script: &str) {
        let mut dialogue = opened(hello);
        let envelope = Envelope {
            reverse_path: ReversePath::Address(address("shop@example.org")),
            recipient: address("ann@example.net"),
            size: SMALL,
            needs: Needs::default(),
            id: "msg_019b".to_owned(),
        };
        let replies = replies(&format!("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n{script}{ACCEPTED}"));
        bencher.bench_local(|| match transact(&mut dialogue, &envelope, &replies) {
            TransactionResult::Accepted(reply) => reply,
            refused => panic!("{refused:?}"),
        });
    }

    #[divan::bench]
    fn transaction_data(bencher: Bencher<'_, '_>) {
        bench_transaction(bencher, HELLO, "354 End data with <CR><LF>.<CR><LF>\r\n");
    }

    #[divan::bench]
    fn transaction_bdat(bencher: Bencher<'_, '_>) {
        bench_transaction(bencher, HELLO_CHUNKING, "");
    }

    #[divan::bench]
    fn dialogue_opens(bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| opened(black_box(HELLO)));
    }

    fn bench_reply(bencher: Bencher<'_, '_>, bytes: &str) {
        let mut reader = ReplyReader::default();
        bencher.counter(BytesCount::of_str(bytes)).bench_local(|| {
            reader.space().extend_from_slice(black_box(bytes).as_bytes());
            reader.next_reply().unwrap().unwrap()
        });
    }

    #[divan::bench]
    fn reply_of_one_line(bencher: Bencher<'_, '_>) {
        bench_reply(bencher, ACCEPTED);
    }

    #[divan::bench]
    fn reply_to_ehlo(bencher: Bencher<'_, '_>) {
        bench_reply(bencher, HELLO);
    }

    #[divan::bench(args = ["550 5.1.1 no such user", "451 4.7.1 Greylisted, try again", "421 busy"])]
    fn classify_refusal(bencher: Bencher<'_, '_>, line: &str) {
        let reply = replies(&format!("{line}\r\n"))[0].to_reply();
        let classifier = Classifier::default();
        bencher.bench_local(|| classifier.judge(Stage::Rcpt, None, &reply));
    }

    #[divan::bench(args = SIZES)]
    fn dot_stuffing(bencher: Bencher<'_, '_>, size: usize) {
        let raw = composed(size);
        bencher.counter(BytesCount::new(raw.len())).bench_local(|| dot_stuffed(black_box(&raw)));
    }
}

mod queue {
    use mailwright::deliver;
    use mailwright::domain::delivery::Group;
    use mailwright::domain::id::ProjectId;
    use mailwright::domain::shard::Shard;
    use mailwright::handover::{Allowances, Room};
    use uuid::Uuid;

    use mailwright::domain::draft::Priority;

    use super::{Bencher, black_box};

    /// Twenty projects with ten next hops each share 256 places.
    #[divan::bench]
    fn shares_of_200_groups(bencher: Bencher<'_, '_>) {
        let group = |n: u128| Group {
            shard: Shard::of_low_bits(0),
            priority: Priority::Normal.rank(),
            project: ProjectId::from_uuid(Uuid::from_u128(n / 10)),
            next_hop: format!("mx{}.example.net", n % 10),
        };
        let groups: Vec<_> = (0..200).map(group).collect();
        let allowances = || Allowances {
            lanes: groups.iter().map(|group| (group.next_hop.clone(), Room { urgent: 64, other: 64 })).collect(),
            projects: groups.iter().map(|group| (group.project, 64)).collect(),
        };
        bencher
            .with_inputs(allowances)
            .bench_local_values(|allowances| deliver::allot(black_box(&groups), allowances, 256));
    }
}
