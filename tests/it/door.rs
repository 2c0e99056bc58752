//! The one door, used as any dialect uses it: what no HTTP request offers yet.

use std::sync::Arc;

use mailwright::domain::access::{Caller, Mode, Scope};
use mailwright::domain::address::{Address, NamedAddress};
use mailwright::domain::draft::{Options, RawDraft, RawParts, Recipient};
use mailwright::domain::id::ProjectId;
use mailwright::domain::recipient::RecipientKind;
use mailwright::domain::reverse_path::ReversePath;
use mailwright::submit::{Accepted, Content, Item, Refusal, RequestKey, Strictness, Submission, SubmitError};

use crate::support::app::{App, Setup};
use crate::support::sink::Sink;

const BYTES: &[u8] =
    b"From: Shop <shop@example.org>\r\nX-Odd:\tvalue \r\nSubject: =?x?q?=\r\n\r\n.dot\r\n\r\nno final line end";

async fn caller(app: &App) -> Caller {
    let row: (uuid::Uuid,) =
        sqlx::query_as("SELECT id FROM projects WHERE name = 'shop'").fetch_one(&app.database.pool).await.unwrap();
    Caller {
        from_domains: Some(vec!["example.org".to_owned()]),
        ..Caller::new(ProjectId::from_uuid(row.0), Mode::Live, vec![Scope::Send])
    }
}

fn raw(from: &str, reverse_path: ReversePath, to: &[&str]) -> Content {
    let recipients = to
        .iter()
        .map(|address| Recipient { kind: RecipientKind::To, address: Address::parse(address).unwrap(), places: vec![] })
        .collect();
    let parts = RawParts {
        senders: Vec::new(),
        from: NamedAddress::parse(from).unwrap(),
        reverse_path: Some(reverse_path),
        recipients,
        subject: "odd".to_owned(),
        message_id: None,
        bytes: Arc::new(BYTES.to_vec()),
        options: Options::default(),
    };
    Content::Raw(Box::new(RawDraft::new(parts, 10).unwrap()))
}

fn first_id(accepted: &Accepted) -> String {
    accepted.items[0].as_ref().unwrap().messages[0].id.to_string()
}

#[tokio::test]
async fn a_composed_message_goes_out_byte_for_byte_under_the_null_reverse_path() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let content = raw("shop@example.org", ReversePath::Null, &["a@example.net"]);
    let accepted = app.service.door.accept(&caller(&app).await, Submission::one(content, None)).await.unwrap();
    let taken = &sink.until_taken(1).await[0];
    assert_eq!(taken.sender, "");
    // The line end that the end of data wants is all that is added.
    assert_eq!(taken.data, [BYTES, b"\r\n"].concat());
    let id = first_id(&accepted);
    app.settled(&id).await;
    assert_eq!(app.get(&format!("/v1/messages/{id}/raw")).await.bytes, BYTES);
    let attempt = &app.attempts(&id).await[0];
    assert!(attempt["transcript"].as_str().unwrap().contains("MAIL FROM:<>"), "{attempt}");
}

#[tokio::test]
async fn a_strict_request_is_all_or_nothing_and_a_permissive_one_takes_what_it_can() {
    let app = Setup::new().paused().start().await;
    let caller = caller(&app).await;
    let contents = || {
        ["shop@example.org", "thief@elsewhere.example", "shop@example.org"]
            .map(|from| Item { wanted: Ok(raw(from, ReversePath::Null, &["a@example.net"]).into()), key: None })
            .to_vec()
    };
    let strict = Submission::batch(contents(), None, Strictness::Strict).unwrap();
    let refused = app.service.door.accept(&caller, strict).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Refused(1, Refusal::ForeignDomain(_))), "{refused}");
    assert_eq!(app.get("/v1/messages").await.json()["data"].as_array().unwrap().len(), 0);

    let permissive = Submission::batch(contents(), None, Strictness::Permissive).unwrap();
    let accepted = app.service.door.accept(&caller, permissive).await.unwrap();
    let taken: Vec<_> = accepted.items.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [true, false, true]);
    assert_eq!(app.get("/v1/messages").await.json()["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_request_of_several_messages_is_replayed_whole_and_stays_in_the_shard_of_its_key() {
    let app = Setup::new().paused().set("database.max_shards_per_tx", 1).start().await;
    let caller = caller(&app).await;
    let request = || {
        let item =
            Item { wanted: Ok(raw("shop@example.org", ReversePath::Null, &["a@example.net"]).into()), key: None };
        let contents = vec![item; 3];
        let key = RequestKey { key: "order-17".to_owned(), fingerprint: [7; 32] };
        Submission::batch(contents, Some(key), Strictness::Strict).unwrap()
    };
    let first = app.service.door.accept(&caller, request()).await.unwrap();
    let again = app.service.door.accept(&caller, request()).await.unwrap();
    assert!(!first.replayed && again.replayed);
    let ids =
        |accepted: &Accepted| accepted.items.iter().map(|m| m.as_ref().unwrap().messages[0].id).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&again));
    let shards: (i64, i64) = sqlx::query_as(
        "SELECT count(DISTINCT s.shard), count(*) FROM (SELECT shard FROM messages UNION ALL SELECT shard FROM idempotency_keys) s",
    )
    .fetch_one(&app.database.pool)
    .await
    .unwrap();
    assert_eq!(shards, (1, 4), "key and messages lie in one shard");
}
