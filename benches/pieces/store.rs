//! The batch statements, against a real Postgres: each time is a commit that is on disk.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mailwright::ambient::{SystemClock, SystemRng, store_clock};
use mailwright::config::{Database, Span};
use mailwright::domain::access::Mode;
use mailwright::domain::clock::{Clock, Rng};
use mailwright::domain::delivery::{Group, LeasedDelivery, RetryPolicy, Settlement};
use mailwright::domain::draft::{Demand, Priority};
use mailwright::domain::id::{AttemptId, MessageId, ProjectId, RecipientId};
use mailwright::domain::lease::Lease;
use mailwright::domain::message::{NewItem, NewMessage, NewRecipient, NewSubmission};
use mailwright::domain::outcome::{AttemptReport, Outcome};
use mailwright::domain::recipient::{RecipientKind, RecipientStatus};
use mailwright::domain::reply::Reply;
use mailwright::domain::retry::Schedule;
use mailwright::domain::shard::Shard;
use mailwright::domain::stage::Stage;
use mailwright::store::mail::accept::Birth;
use mailwright::store::queue::claims::Claim;
use mailwright::store::{OwnedConnection, Store};
use mailwright::telemetry::metrics::Metrics;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::{Bencher, SMALL, composed, plain};

const LANE: &str = "example.net";
const BATCH: usize = 64;
const SPAN: Duration = Duration::from_mins(10);

static BED: OnceLock<Bed> = OnceLock::new();

#[expect(clippy::disallowed_methods, reason = "the tests' way to say which server")]
fn server_url() -> Option<String> {
    std::env::var("DATABASE_URL").ok()
}

pub fn is_there() -> bool {
    server_url().is_some()
}

pub fn remove() {
    if let Some(bed) = BED.get() {
        bed.runtime.block_on(async {
            bed.store.close().await;
            on_server(&format!("DROP DATABASE {} WITH (FORCE)", bed.database)).await;
        });
    }
}

async fn on_server(statement: &str) {
    let mut server = PgConnection::connect(&server_url().unwrap()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut server).await.unwrap();
    server.close().await.unwrap();
}

fn random() -> Uuid {
    let mut bytes = [0; 16];
    SystemRng.fill(&mut bytes);
    Uuid::from_bytes(bytes)
}

/// A migrated database of its own.
struct Bed {
    runtime: Runtime,
    database: String,
    store: Store,
    project: ProjectId,
    raw: Arc<Vec<u8>>,
}

impl Bed {
    fn get() -> &'static Self {
        BED.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let database = format!("pieces_{}", std::process::id());
            let (store, project) = runtime.block_on(Self::make(&database));
            Self { runtime, database, store, project, raw: Arc::new(composed(SMALL)) }
        })
    }

    async fn make(database: &str) -> (Store, ProjectId) {
        on_server(&format!("CREATE DATABASE {database}")).await;
        let url = server_url().unwrap();
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        let (server, _) = path.rsplit_once('/').unwrap();
        let url = format!("{server}/{database}?{query}");
        let settings = Database { url, timeout: Span(Duration::from_mins(1)), ..Database::default() };
        let store = Store::new(&settings, Arc::new(Metrics::new().unwrap()), store_clock()).unwrap();
        store.migrate().await.unwrap();
        let now = SystemClock.now();
        let project = store.ensure_project(ProjectId::new(now, &SystemRng), "pieces", false, now).await.unwrap();
        (store, project)
    }

    fn batch(&self, shard: Shard, count: usize) -> Vec<NewSubmission> {
        let item = || NewItem { messages: vec![self.message(shard)], ..NewItem::default() };
        let one = || NewSubmission { shard, items: vec![item()], key: None, is_strict: true };
        (0..count).map(|_| one()).collect()
    }

    fn message(&self, shard: Shard) -> NewMessage {
        let (now, draft) = (SystemClock.now(), plain(SMALL));
        let recipient = NewRecipient {
            places: None,
            id: RecipientId::new_in(shard, now, &SystemRng),
            kind: RecipientKind::To,
            address: draft.recipients().to()[0].address.clone(),
            next_hop: LANE.to_owned(),
            return_path: None,
            status: RecipientStatus::Queued,
            suppressed: None,
        };
        NewMessage {
            id: MessageId::new_in(shard, now, &SystemRng),
            project: self.project,
            mode: Mode::Live,
            sender: draft.from().address.clone(),
            author: draft.from().to_string(),
            message_id: None,
            subject: draft.subject().as_str().to_owned(),
            tags: draft.options().tags.clone(),
            metadata: draft.options().metadata.clone(),
            priority: draft.options().priority,
            created_at: now,
            expires_at: None,
            give_up_at: now + SPAN,
            demand: Demand::default(),
            recipients: vec![recipient],
            idempotency_key: None,
            batch: None,
            send_at: None,
            template: None,
            credential: None,
            script: None,
            stream: None,
            raw: Arc::clone(&self.raw),
        }
    }

    /// Accepts a batch whose deliveries are born under `token`, or due without one.
    fn accept(&self, connection: &mut OwnedConnection, batch: &[NewSubmission], token: Option<Uuid>) {
        let is_leased = |_: &Uuid| token.is_some();
        let birth = Birth { owner: Uuid::nil(), token: token.unwrap_or_default(), span: SPAN, is_leased: &is_leased };
        self.runtime.block_on(connection.accept(batch, &birth, &SystemRng)).unwrap();
    }
}

#[divan::bench(args = [1, 16, 64], sample_size = 1)]
fn accept(bencher: Bencher<'_, '_>, count: usize) {
    let bed = Bed::get();
    let mut connection = bed.store.connection();
    let token = Some(random());
    bencher
        .with_inputs(|| bed.batch(Shard::of_low_bits(0), count))
        .bench_local_values(|batch| bed.accept(&mut connection, &batch, token));
}

#[divan::bench(sample_size = 1)]
fn settle_64(bencher: Bencher<'_, '_>) {
    let bed = Bed::get();
    let (mut accepting, mut settling) = (bed.store.connection(), bed.store.connection());
    let token = random();
    let inputs = || {
        let batch = bed.batch(Shard::of_low_bits(1), BATCH);
        bed.accept(&mut accepting, &batch, Some(token));
        batch.iter().map(|submission| delivered(&submission.items[0].messages[0], token)).collect::<Vec<_>>()
    };
    bencher.with_inputs(inputs).bench_local_values(|settlements| {
        let settled = bed
            .runtime
            .block_on(settling.settle_deliveries(&settlements.iter().collect::<Vec<_>>(), &SystemRng))
            .unwrap();
        assert!(settled.is_empty(), "every lease was ours");
    });
}

fn delivered(message: &NewMessage, token: Uuid) -> Settlement {
    let (now, recipient) = (SystemClock.now(), &message.recipients[0]);
    let policy = || RetryPolicy { schedule: Schedule::fallback(), uncertain: Duration::ZERO, uncertain_max: i32::MAX };
    let delivery = LeasedDelivery {
        lease: Lease { shard: message.id.shard(), id: recipient.id.uuid(), token, attempt: 1 },
        message: message.id,
        recipient: recipient.id,
        project: message.project,
        priority: 1,
        next_hop: recipient.next_hop.clone(),
        demand: Demand::default(),
        size: message.raw.len(),
        due_at: now,
        expires_at: message.give_up_at,
        rescued: 0,
        uncertain: 0,
        charged: false,
        as_of: None,
    };
    let reply = Reply { code: 250, enhanced: None, text: "Ok: queued as 4Xr7pQ2m1Zz9".to_owned() };
    let outcome = Outcome::Accepted(reply);
    let transition = delivery.conclude(&outcome, policy, now, &SystemRng);
    let report = AttemptReport {
        host: Some("mx.example.net".to_owned()),
        ip: Some("192.0.2.1".to_owned()),
        // About what one transaction leaves.
        transcript: "S: 250 2.1.0 Ok\n".repeat(24),
        ..AttemptReport::without_session(outcome, Stage::Dot)
    };
    let attempt = AttemptId::new_in(message.id.shard(), now, &SystemRng);
    Settlement { attempt, delivery, transition, report, suppression: None, started_at: now, finished_at: now }
}

#[divan::bench(sample_size = 1)]
fn claim_64(bencher: Bencher<'_, '_>) {
    let bed = Bed::get();
    let (mut accepting, mut claiming) = (bed.store.connection(), bed.store.connection());
    let shard = Shard::of_low_bits(2);
    let group = Group { shard, priority: Priority::Normal.rank(), project: bed.project, next_hop: LANE.to_owned() };
    let inputs = || {
        bed.accept(&mut accepting, &bed.batch(shard, BATCH), None);
        random()
    };
    bencher.with_inputs(inputs).bench_local_values(|token| {
        let claim = Claim { owner: Uuid::nil(), token, span: SPAN, shares: &[(&group, BATCH)] };
        let claimed = bed.runtime.block_on(claiming.claim_deliveries(&claim)).unwrap();
        assert_eq!(claimed.len(), BATCH, "all that was due was claimed");
    });
}
