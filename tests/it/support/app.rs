//! The service, run inside the test on a database of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use mailwright::ambient::{SystemClock, SystemRng};
use mailwright::app::{Ended, Plan, Role, Service};
use mailwright::config::Layers;
use mailwright::domain::clock::{Clock, Timestamp};
use mailwright::store::StoreClock;
use mailwright::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::http::{Answer, Client};
use super::within;

/// By what secrets are sealed where a test says nothing else.
pub const SEALING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Settings of every test: small waits, loopback allowed.
const SETTINGS: [(&str, &str); 11] = [
    ("http.listen", "127.0.0.1:0"),
    // Wrong keys are tried by many tests.
    ("auth.slow_down", "0s"),
    ("queue.poll", "200ms"),
    ("queue.lease", "3s"),
    ("delivery.retry", "50ms,100ms"),
    ("delivery.uncertain_delay", "50ms"),
    ("webhooks.retry", "50ms,100ms,200ms"),
    ("net.allow_private", "127.0.0.0/8,::1/128"),
    ("domains.resolvers", ""),
    ("delivery.require_verified_domain", "false"),
    ("secrets.sealing_key", SEALING_KEY),
];

/// A service about to be started.
pub struct Setup {
    settings: Vec<(String, String)>,
    file: String,
    plan: Plan,
    database: Option<Arc<Database>>,
    ahead: time::Duration,
}

/// The machine's clock, wrong by so much.
struct WrongClock(time::Duration);

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }
}

impl Setup {
    pub fn new() -> Self {
        let settings = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let plan = Plan { roles: Role::ALL.to_vec(), paused: false };
        let setup = Self { settings, file: String::new(), plan, database: None, ahead: time::Duration::ZERO };
        setup.set("dns.servers", super::dns::nowhere())
    }

    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Settings that only a file can hold.
    pub fn file(mut self, text: &str) -> Self {
        text.clone_into(&mut self.file);
        self
    }

    /// Plays these parts only.
    pub fn roles(mut self, roles: &[Role]) -> Self {
        roles.clone_into(&mut self.plan.roles);
        self
    }

    pub fn paused(mut self) -> Self {
        self.plan.paused = true;
        self
    }

    /// Live mail goes to this host and port, in the clear.
    pub fn route_to(self, address: SocketAddr) -> Self {
        self.set("delivery.route", format!("smtp://{address}?tls=none"))
    }

    /// The service runs on a machine whose wall clock is so much ahead.
    pub fn wall_clock_ahead(mut self, by: time::Duration) -> Self {
        self.ahead = by;
        self
    }

    pub fn on(mut self, database: &Arc<Database>) -> Self {
        self.database = Some(Arc::clone(database));
        self
    }

    /// Shaping rules, in a file of this setup's own.
    pub fn shaping(self, text: &str) -> Self {
        let path = temporary("shaping", text);
        self.set("delivery.shaping_file", path.display())
    }

    pub async fn start(self) -> App {
        let database = match self.database {
            Some(database) => database,
            None => Arc::new(Database::new().await),
        };
        let mut layers = Layers::default();
        layers.file("test", &self.file);
        layers.text("test", "database.url", &database.url);
        for (name, value) in &self.settings {
            layers.text("test", name, value);
        }
        let clock = Arc::new(StoreClock::new(Arc::new(WrongClock(self.ahead))));
        let metrics = Arc::new(Metrics::new().unwrap());
        let started =
            Service::start(layers.finish().unwrap(), &self.plan, metrics, Arc::clone(&clock), Arc::new(SystemRng));
        let service = started.await.unwrap();
        let live = super::process::create_key(&database.url, "shop", "live", "").await;
        let test = super::process::create_key(&database.url, "shop", "test", "").await;
        App { address: service.address, service, database, live, test, clock }
    }
}

/// A running service and the keys of its project `shop`.
pub struct App {
    pub address: SocketAddr,
    pub database: Arc<Database>,
    pub live: String,
    pub test: String,
    /// The service's time, which a test may move.
    pub clock: Arc<StoreClock>,
    pub service: Service,
}

impl App {
    /// Starts with the settings of every test.
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    /// Starts with another `auth.cache`.
    pub async fn start_with_cache(span: &str) -> Self {
        Setup::new().paused().set("auth.cache", span).start().await
    }

    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub async fn get_as(&self, key: &str, path: &str) -> Answer {
        let authorization = format!("Bearer {key}");
        let call =
            async { self.client().request("GET", path, &[("authorization", &authorization)], vec![]).await.unwrap() };
        within(path, call).await
    }

    /// With the live key.
    pub async fn get(&self, path: &str) -> Answer {
        self.get_as(&self.live, path).await
    }

    pub async fn call_as(
        &self,
        key: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let authorization = format!("Bearer {key}");
        let mut all = vec![("authorization", authorization.as_str()), ("content-type", "application/json")];
        all.extend_from_slice(headers);
        within(path, async { self.client().request(method, path, &all, body).await.unwrap() }).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call_as(&self.live, "POST", path, &[], body.to_string().into_bytes()).await
    }

    /// Sends with the live key; gives the message's id.
    pub async fn send(&self, message: &Value) -> String {
        self.send_as(&self.live, message).await
    }

    pub async fn send_as(&self, key: &str, message: &Value) -> String {
        let answer = self.call_as(key, "POST", "/v1/send", &[], message.to_string().into_bytes()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub async fn message(&self, id: &str) -> Value {
        let answer = self.get(&format!("/v1/messages/{id}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub async fn attempts(&self, id: &str) -> Vec<Value> {
        self.get(&format!("/v1/messages/{id}/attempts")).await.json()["data"].as_array().unwrap().clone()
    }

    pub async fn events(&self, id: &str) -> Vec<Value> {
        self.get(&format!("/v1/messages/{id}/events")).await.json()["data"].as_array().unwrap().clone()
    }

    /// Waits until the message is as `wanted` says.
    pub async fn until(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut watch = self.database.watch().await;
        within(what, async {
            loop {
                let message = self.message(id).await;
                if wanted(&message) {
                    return message;
                }
                watch.changed().await;
            }
        })
        .await
    }

    /// Waits until every recipient has reached a final state.
    pub async fn settled(&self, id: &str) -> Value {
        self.until(id, "every recipient to be settled", |message| {
            message["recipients"].as_array().unwrap().iter().all(|r| !r["settled_at"].is_null())
        })
        .await
    }

    pub async fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0.0)
    }

    /// Waits until a metric has that value: it is counted behind the commit that shows in the store.
    pub async fn until_metric(&self, line: &str, wanted: f64) {
        let mut last = f64::NAN;
        let reached = async {
            while (last - wanted).abs() >= 0.1 || last.is_nan() {
                last = self.metric(line).await;
            }
        };
        let is_reached = tokio::time::timeout(super::PATIENCE, reached).await.is_ok();
        assert!(is_reached, "{line}: {last}, not {wanted}");
    }

    /// Waits until the processes that deliver already have made room for this one.
    pub async fn until_delivering(&self) {
        within("the service to deliver", async {
            while self.metric("mailwright_delivering ").await < 1.0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub async fn stop(self) -> Ended {
        within("the service to stop", self.service.stop(&CancellationToken::new())).await
    }
}

/// A file with that text, under a name that nobody else has.
pub fn temporary(name: &str, text: &str) -> std::path::PathBuf {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("mailwright-{name}-{}-{number}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

/// A message that nothing is wrong with.
pub fn message_to(to: &str) -> Value {
    json!({"from": "Shop <shop@example.org>", "to": to, "subject": "Hello", "text": "It works.\n"})
}

/// The status of the recipient with that address.
pub fn status_of<'m>(message: &'m Value, email: &str) -> &'m str {
    let recipients = message["recipients"].as_array().unwrap();
    recipients.iter().find(|r| r["email"] == email).unwrap()["status"].as_str().unwrap()
}
