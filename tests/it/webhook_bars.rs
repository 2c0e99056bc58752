//! What webhooks promise in figures: who hangs holds up nobody, who answers is told fast, and nothing is lost whatever happens. The
//! long form, and those bars that a busy machine would miss, are for `scripts/nightly` (`MAILWRIGHT_NIGHTLY`).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::sync::watch;

use crate::support::app::{App, Setup, message_to};
use crate::support::database::Database;
use crate::support::http::Client;
use crate::support::listener::{Fate, Listener};
use crate::support::process::{Server, command, create_key};
use crate::support::sink::{Do, Sink, Step};
use crate::support::within;

/// The longest that an endpoint which answers may wait for an event because of others, at the 95th percentile.
const BAR: Duration = Duration::from_secs(5);

fn is_nightly() -> bool {
    std::env::var_os("MAILWRIGHT_NIGHTLY").is_some()
}

/// A figure to be read; `scripts/nightly` shows them.
fn figure(text: &str) {
    if is_nightly() {
        let path = std::env::temp_dir().join("mailwright-webhook-bars");
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        writeln!(file, "{text}").unwrap();
    }
}

fn p95(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * 95 / 100]
}

async fn endpoint(app: &App, key: &str, body: Value) -> Value {
    let made = app.call_as(key, "POST", "/v1/webhooks", &[], body.to_string().into_bytes()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

/// A message to so many recipients, whose addresses begin so.
fn message_to_many(prefix: &str, recipients: usize) -> Value {
    let mut message = message_to("x@example.net");
    message["to"] = json!((0..recipients).map(|n| format!("{prefix}{n}@example.net")).collect::<Vec<_>>());
    message
}

/// `mailwright serve` with nothing but webhooks.
async fn webhooks_alone(database: &Database) -> Server {
    let settings =
        ["serve", "--roles", "webhooks", "--set", "http.listen=127.0.0.1:0", "--set", "net.allow_private=127.0.0.0/8"];
    Server::from_command(command(&database.url, &settings)).await
}

#[tokio::test]
async fn fifty_endpoints_that_hang_hold_up_no_other_project() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let hanging = Listener::start(|_| Fate::Hang).await;
    for _ in 0..50 {
        endpoint(&app, &app.live, json!({"url": hanging.url()})).await;
    }
    app.send(&message_to_many("a", 1000)).await;
    app.send(&message_to_many("b", 300)).await;
    hanging.until_calls(50).await;
    let key = create_key(&app.database.url, "neighbour", "live", "").await;
    let quiet = Listener::start(|_| Fate::Answer(200)).await;
    endpoint(&app, &key, json!({"url": quiet.url(), "events": ["message.delivered"]})).await;
    let mut times = Vec::new();
    for n in 0..40 {
        let began = Instant::now();
        let body = message_to(&format!("n{n}@example.net")).to_string().into_bytes();
        assert_eq!(app.call_as(&key, "POST", "/v1/send", &[], body).await.status, 202);
        quiet.until_taken(n + 1).await;
        times.push(began.elapsed());
    }
    let p95 = p95(times);
    figure(&format!("beside fifty endpoints that hang: p95 {p95:?}"));
    assert!(p95 <= BAR, "{p95:?} from the request to the webhook");
    app.stop().await;
}

/// At night it is 500 a second at least.
#[tokio::test]
async fn an_endpoint_that_takes_a_tenth_of_a_second_is_told_fast() {
    let messages = if is_nightly() { 5 } else { 1 };
    let database = Arc::new(Database::new().await);
    let accepting = Setup::new().on(&database).paused().start().await;
    let listener = Listener::start(|_| Fate::Late(Duration::from_millis(100))).await;
    endpoint(&accepting, &accepting.live, json!({"url": listener.url(), "events": ["message.queued"]})).await;
    for n in 0..messages {
        accepting.send(&message_to_many(&format!("m{n}."), 1000)).await;
    }
    let server = webhooks_alone(&database).await;
    // By then it has shown that it answers.
    let shown = listener.until_calls(500).await.len();
    let began = Instant::now();
    listener.until_taken(messages * 1000).await;
    let calls = listener.calls();
    let rate = (calls.len() - shown) as f64 / (calls[calls.len() - 1].at - calls[shown - 1].at).as_secs_f64();
    figure(&format!("{rate:.0} events a second at 100 ms an answer, {:?}", began.elapsed()));
    assert!(!is_nightly() || rate >= 500.0, "{rate:.0} events a second");
    assert_eq!(calls.len(), messages * 1000, "each once");
    server.kill().await;
    accepting.stop().await;
}

/// At night it is a second at most.
#[tokio::test]
async fn a_thousand_recipients_are_accepted_at_once_however_many_endpoints_hear_of_them() {
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let settings = [("net.allow_private", "127.0.0.0/8")];
    let server = Server::start(&database.url, &settings).await;
    let listener = Listener::start(|_| Fate::Answer(200)).await;
    let post = async |path: &str, body: Value| {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", &*authorization), ("content-type", "application/json")];
        Client::new(&server.address).request("POST", path, &headers, body.to_string().into_bytes()).await.unwrap()
    };
    for _ in 0..50 {
        let made = post("/v1/webhooks", json!({"url": listener.url(), "events": ["message.queued"]})).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let message = message_to_many("m", 1000);
    let began = Instant::now();
    assert_eq!(post("/v1/send", message).await.status, 202);
    let took = began.elapsed();
    figure(&format!("1,000 recipients with 50 endpoints: accepted in {took:?}"));
    assert!(!is_nightly() || took <= Duration::from_secs(1), "{took:?}");
    listener.until_calls(500).await;
    server.kill().await;
}

/// Messages that are sent until each was acknowledged, whatever becomes of the process.
struct Load {
    pending: Mutex<VecDeque<usize>>,
    acknowledged: watch::Sender<usize>,
}

impl Load {
    /// Sends until nothing is left, or the process is gone.
    async fn send(self: Arc<Self>, address: String, key: String) {
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (load, address, authorization) = (Arc::clone(&self), address.clone(), format!("Bearer {key}"));
            senders.spawn(async move {
                let mut client = Client::new(&address);
                while let Some(number) = load.next() {
                    // Every tenth is refused.
                    let to = format!("{}{number}@example.net", if number % 10 == 0 { "bad" } else { "r" });
                    let body = message_to(&to).to_string().into_bytes();
                    let id = format!("message-{number}");
                    let headers = [
                        ("authorization", &*authorization),
                        ("content-type", "application/json"),
                        ("idempotency-key", &*id),
                    ];
                    match client.request("POST", "/v1/send", &headers, body).await {
                        Ok(answer) if answer.status == 202 => load.acknowledged.send_modify(|count| *count += 1),
                        Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
                        Err(_) => {
                            load.pending.lock().unwrap().push_back(number);
                            return;
                        }
                    }
                }
            });
        }
        senders.join_all().await;
    }

    fn next(&self) -> Option<usize> {
        self.pending.lock().unwrap().pop_front()
    }

    async fn until(&self, count: usize) {
        let mut acknowledged = self.acknowledged.subscribe();
        within("acknowledgements", acknowledged.wait_for(|n| *n >= count)).await.unwrap();
    }
}

/// What the store has of final states: the id of each event, its type and its recipient.
async fn final_events(database: &Database) -> BTreeMap<String, (String, String)> {
    let sql = "SELECT 'evt_' || replace(e.id::text, '-', ''), e.type, r.address FROM events e \
               JOIN recipients r ON r.shard = e.shard AND r.message_id = e.message_id AND r.id = e.recipient_id \
               WHERE e.type IN ('message.delivered', 'message.bounced', 'message.expired', 'message.suppressed')";
    let rows: Vec<(String, String, String)> =
        sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_all(&database.pool).await.unwrap();
    rows.into_iter().map(|(id, kind, to)| (id, (kind, to))).collect()
}

/// A number that looks like chance: splitmix64.
fn chance(seed: u64, n: usize) -> u64 {
    let mut z = (seed + n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// At night with 5,000 messages, and a receiver that is away for three minutes.
#[tokio::test]
#[ignore = "takes a minute and more: scripts/nightly runs it in full"]
async fn every_final_state_arrives_whatever_dies_on_either_side() {
    // The schedule of days in seconds, and as long as chance may ask for.
    let (messages, absence, waits) = if is_nightly() {
        (5000, Duration::from_mins(3), ["200ms,500ms,1s,2s", &",5s".repeat(96)].concat())
    } else {
        (400, Duration::from_secs(3), ["50ms,100ms", &",300ms".repeat(96)].concat())
    };
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let sink = Sink::setup()
        .script(|step, _| match step {
            Step::Rcpt(to) if to.contains("bad") => Do::Reply("550 5.1.1 no such user"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let listener = Listener::start(|n| match chance(7, n) % 5 {
        0 => Fate::Answer(200),
        1 => Fate::Answer(500),
        2 => Fate::Answer(302),
        3 => Fate::Hang,
        _ => Fate::Reset,
    })
    .await;
    let route = format!("smtp://{}?tls=none", sink.address);
    let settings = [
        ("delivery.route", &*route),
        ("net.allow_private", "127.0.0.0/8"),
        ("queue.lease", "2s"),
        ("webhooks.timeout", "500ms"),
        ("webhooks.per_endpoint", "32"),
        ("webhooks.retry", &*waits),
        ("log.level", "error"),
    ];
    let mut server = Server::start(&database.url, &settings).await;
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let events = ["message.delivered", "message.bounced", "message.expired", "message.suppressed"];
    let body = json!({"url": listener.url(), "events": events}).to_string().into_bytes();
    let made = Client::new(&server.address).request("POST", "/v1/webhooks", &headers, body).await.unwrap().json();
    listener.verify_by(made["secret"].as_str().unwrap());
    let load = Arc::new(Load { pending: Mutex::new((0..messages).collect()), acknowledged: watch::channel(0).0 });
    // Killed three times while messages come, and twice while the endpoint is being told.
    for kill in 0..5 {
        let loading = tokio::spawn(Arc::clone(&load).send(server.address.clone(), key.clone()));
        if kill < 3 {
            load.until(messages * (kill + 1) / 4).await;
        } else {
            listener.until_taken(messages * (kill - 2) / 4).await;
        }
        server.kill().await;
        within("the load", loading).await.unwrap();
        if kill == 2 {
            listener.leave_for(absence);
        }
        server = Server::start(&database.url, &settings).await;
    }
    Arc::clone(&load).send(server.address.clone(), key.clone()).await;
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let ended = Instant::now();
    let expected = final_events(&database).await;
    assert_eq!(expected.len(), messages);
    listener.until_taken(messages).await;
    figure(&format!("the last event came {:?} after the end", ended.elapsed()));
    assert!(ended.elapsed() <= Duration::from_mins(10));
    let calls = listener.calls();
    let mut bodies: HashMap<&str, &[u8]> = HashMap::new();
    for call in &calls {
        let body = bodies.entry(call.hook.id()).or_insert(&call.hook.body);
        assert_eq!(*body, call.hook.body, "the same id has the same body");
        assert!(call.is_signed, "the public verifier takes it");
    }
    let told: BTreeMap<_, _> = calls
        .iter()
        .filter(|call| call.is_taken)
        .map(|call| {
            let hook = call.hook.json();
            let to = hook["data"]["email"].as_str().unwrap().to_owned();
            (call.hook.id().to_owned(), (call.hook.kind(), to))
        })
        .collect();
    assert!(told == expected, "{} told, {} expected", told.len(), expected.len());
    let of_kind = |kind: &str| -> BTreeSet<_> {
        told.values().filter(|(told, _)| told == kind).map(|(_, to)| to.clone()).collect()
    };
    let taken: BTreeSet<_> = sink.ledger().into_iter().map(|taken| taken.recipient).collect();
    assert!(of_kind("message.delivered") == taken, "what is said to be delivered is what the server took");
    assert!(of_kind("message.bounced").iter().all(|to| to.starts_with("bad")));
    assert_eq!(of_kind("message.delivered").len() + of_kind("message.bounced").len(), messages);
    server.kill().await;
}

#[tokio::test]
async fn after_a_week_an_endpoint_hears_of_all_in_the_order_of_the_log_and_holds_up_nobody() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let (back, steady) = (Listener::start(|_| Fate::Answer(200)).await, Listener::start(|_| Fate::Answer(200)).await);
    let made = endpoint(&app, &app.live, json!({"url": back.url()})).await;
    endpoint(&app, &app.live, json!({"url": steady.url(), "events": ["message.delivered"], "tags": ["steady"]})).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let enable = async |enabled: bool| {
        let body = json!({"enabled": enabled}).to_string().into_bytes();
        assert_eq!(app.call_as(&app.live, "PATCH", &path, &[], body).await.status, 200);
    };
    enable(false).await;
    for day in 0..7 {
        for n in 0..10 {
            app.send(&message_to_many(&format!("d{day}.{n}."), 20)).await;
        }
        app.database.until_count("SELECT count(*) FROM deliveries", 0).await;
        app.clock.advance(Duration::from_hours(24));
    }
    let sql = "SELECT 'evt_' || replace(id::text, '-', '') FROM events ORDER BY era, xid, id";
    let log: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&app.database.pool).await.unwrap();
    assert_eq!(log.len(), 7 * 10 * 20 * 2);
    enable(true).await;
    let mut times = Vec::new();
    for n in 0..40 {
        let began = Instant::now();
        let mut message = message_to(&format!("s{n}@example.net"));
        message["tags"] = json!(["steady"]);
        app.send(&message).await;
        steady.until_taken(n + 1).await;
        times.push(began.elapsed());
    }
    let p95 = p95(times);
    assert!(p95 <= BAR, "{p95:?} from the request to the webhook of another endpoint");
    back.until_taken(log.len()).await;
    let places: HashMap<_, _> = log.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let calls = back.calls();
    let mut came = vec![false; log.len()];
    let (mut first, mut furthest) = (0, 0);
    for place in calls.iter().filter_map(|call| places.get(call.hook.id()).copied()) {
        came[place] = true;
        while first < came.len() && came[first] {
            first += 1;
        }
        furthest = furthest.max(place.saturating_sub(first));
    }
    assert_eq!(first, log.len(), "all of the retention");
    // As many calls as there may be at once overtake each other.
    figure(&format!("{furthest} places before one that had not come"));
    // On a machine with other work, as many as an endpoint may hold.
    let most = if is_nightly() { 128 } else { 1000 };
    assert!(furthest <= most, "one came {furthest} places before another of the log");
    app.stop().await;
}
