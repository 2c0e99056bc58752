//! The event log: read in the order of commits, and no commit is skipped, however slow it was.

use std::collections::BTreeSet;

use mailwright::domain::id::{MessageId, ProjectId};
use mailwright::domain::log::LogCursor;
use mailwright::domain::shard::Shard;
use mailwright::store::Store;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::support::app::{App, Setup, message_to};
use crate::support::database::store;

/// Reads one project's log, shard by shard, each from where it ended before.
struct Reader {
    store: Store,
    project: ProjectId,
    cursors: Vec<(Shard, LogCursor)>,
}

impl Reader {
    async fn of(app: &App) -> Self {
        let store = store(&app.database.url);
        store.begin_era().await.unwrap();
        let project: Uuid = sqlx::query_scalar("SELECT id FROM projects WHERE name = 'shop'")
            .fetch_one(&app.database.pool)
            .await
            .unwrap();
        let cursors = Shard::all().map(|shard| (shard, LogCursor::default())).collect();
        Self { store, project: ProjectId::from_uuid(project), cursors }
    }

    /// What is new, in pages of `limit`; each cursor survives its text.
    async fn read(&mut self, limit: i64) -> Vec<String> {
        let mut read = Vec::new();
        for (shard, cursor) in &mut self.cursors {
            loop {
                let page = self.store.read_log(self.project, *shard, cursor, limit).await.unwrap();
                *cursor = page.next.to_string().parse().unwrap();
                read.extend(page.events.iter().map(|event| event.id.to_string()));
                if cursor.within.is_none() {
                    break;
                }
            }
        }
        read
    }
}

/// Writes one more event of a message in a transaction of its own, that is not committed yet.
async fn write(conn: &mut PgConnection, message: &str, era: i16) -> String {
    let message = MessageId::parse(message).unwrap().uuid();
    // The same but for a bit of its random part.
    let id: Uuid = sqlx::query_scalar(AssertSqlSafe(format!(
        "INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data, era, xid)
         SELECT shard, overlay(id::text PLACING 'abcd' FROM 25)::uuid, project_id, message_id, recipient_id, mode, 99, type, now(),
             data, {era}, pg_current_xact_id()
         FROM events WHERE message_id = '{message}' LIMIT 1 RETURNING id"
    )))
    .fetch_one(conn)
    .await
    .unwrap();
    format!("evt_{}", id.simple())
}

#[tokio::test]
async fn a_commit_that_is_slower_than_those_after_it_is_read_and_nothing_twice() {
    let app = Setup::new().paused().start().await;
    let first = app.send(&message_to("a@example.net")).await;
    let mut reader = Reader::of(&app).await;
    assert_eq!(reader.read(10).await.len(), 1);
    let mut slow = PgConnection::connect(&app.database.url).await.unwrap();
    let mut transaction = slow.begin().await.unwrap();
    let late = write(&mut transaction, &first, 1).await;
    // Others begin and commit meanwhile.
    for n in 0..5 {
        app.send(&message_to(&format!("r{n}@example.net"))).await;
    }
    let fast = reader.read(2).await;
    assert_eq!(fast.len(), 5);
    assert!(!fast.contains(&late), "it is not committed yet");
    app.send(&message_to("last@example.net")).await;
    transaction.commit().await.unwrap();
    let rest = reader.read(1).await;
    assert_eq!(rest.len(), 2, "{rest:?}");
    assert!(rest.contains(&late), "it came before what was read, and is read all the same");
    assert!(reader.read(10).await.is_empty(), "and once");
    assert_eq!(fast.iter().chain(&rest).collect::<BTreeSet<_>>().len(), 7);
}

#[tokio::test]
async fn what_is_written_in_another_cluster_comes_after_what_was_written_before() {
    let app = Setup::new().paused().start().await;
    let id = app.send(&message_to("a@example.net")).await;
    let mut reader = Reader::of(&app).await;
    assert_eq!(reader.read(10).await.len(), 1);
    // The store was restored elsewhere: transaction ids begin anew, far below those that were read.
    app.database.execute("UPDATE log_eras SET system_identifier = 1").await;
    reader.store.begin_era().await.unwrap();
    assert_eq!(app.database.count("SELECT max(era)::bigint FROM log_eras").await, 2);
    reader.store.begin_era().await.unwrap();
    assert_eq!(app.database.count("SELECT count(*) FROM log_eras").await, 2, "once");
    let mut conn = PgConnection::connect(&app.database.url).await.unwrap();
    let new = write(&mut conn, &id, 2).await;
    app.database.execute("UPDATE events SET xid = '3' WHERE era = 2").await;
    assert_eq!(reader.read(10).await, [new]);
    assert!(reader.read(10).await.is_empty());
}
