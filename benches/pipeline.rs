//! The whole life of a message on one machine: HTTP load → service → Postgres → SMTP sink, all on loopback.
//!
//! ```sh
//! cargo run -- with-postgres --data-dir /tmp/mailwright-bench -- cargo bench
//! ```
//!
//! Prints rates, latencies and CPU time per message (this process, which is service, load and sink, and all
//! Postgres processes of the machine). `MESSAGES`, `CONNECTIONS` and `BYTES` change the load.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement that cannot go on stops")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mailwright::ambient::{SystemChance, SystemClock};
use mailwright::api::auth;
use mailwright::app::{Plan, Role, Service};
use mailwright::config::Layers;
use mailwright::domain::access::{Mode, Scope};
use mailwright::domain::clock::Clock;
use mailwright::domain::id::{KeyId, ProjectId};
use mailwright::store::Store;
use mailwright::store::projects::NewKey;
use mailwright::telemetry::metrics::Metrics;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const KEY: &str = "mw_live_benchmark";

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Takes every message; counts them.
async fn sink() -> (std::net::SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (taken, count) = watch::channel(0);
    let taken = Arc::new(taken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let taken = Arc::clone(&taken);
            // A client that goes away ends its connection and nothing else.
            tokio::spawn(async move { converse(stream, &taken).await });
        }
    });
    (address, count)
}

async fn converse(stream: TcpStream, taken: &watch::Sender<usize>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    stream.get_mut().write_all(b"220 sink\r\n").await?;
    let (mut line, mut in_body) = (Vec::new(), false);
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let reply: &[u8] = match (in_body, line.as_slice()) {
            (true, b".\r\n") => {
                in_body = false;
                taken.send_modify(|count| *count += 1);
                b"250 2.0.0 taken\r\n"
            }
            (true, _) => continue,
            (false, b"DATA\r\n") => {
                in_body = true;
                b"354 go\r\n"
            }
            (false, line) if line.starts_with(b"EHLO") => b"250-sink\r\n250 PIPELINING\r\n",
            (false, _) => b"250 ok\r\n",
        };
        stream.get_mut().write_all(reply).await?;
    }
}

async fn service(url: &str, sink: std::net::SocketAddr) -> Service {
    let mut layers = Layers::default();
    let route = format!("smtp://{sink}?tls=none");
    for (name, value) in [("database.url", url), ("http.listen", "127.0.0.1:0"), ("delivery.route", &route)] {
        layers.text("benchmark", name, value).unwrap();
    }
    let config = layers.finish().unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let store = Store::new(&config.database, Arc::clone(&metrics)).unwrap();
    store.migrate().await.unwrap();
    let now = SystemClock.now();
    let project = store.ensure_project(ProjectId::new(now, &SystemChance), "benchmark", now).await.unwrap();
    let key = NewKey {
        id: KeyId::new(now, &SystemChance),
        project,
        mode: Mode::Live,
        scopes: &[Scope::Send],
        prefix: "mw_live_",
        hash: auth::hash(KEY),
        created_at: now,
        expires_at: None,
    };
    // Another run in the same cluster left the key there.
    let _ = store.insert_key(&key).await;
    let plan = Plan { roles: Role::ALL.to_vec(), paused: false };
    Service::start(config, &plan, metrics).await.unwrap()
}

/// Sends until `left` is used up; gives the time of each answer.
async fn sender(address: std::net::SocketAddr, body: Bytes, left: Arc<AtomicUsize>) -> Vec<Duration> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut times = Vec::new();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        let request = Request::post("/v1/send")
            .header("host", "benchmark")
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))
            .unwrap();
        let started = Instant::now();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 202);
        answer.into_body().collect().await.unwrap();
        times.push(started.elapsed());
    }
    times
}

/// CPU seconds that the processes accepted by `wanted` have used (100 ticks a second on Linux).
fn cpu(wanted: impl Fn(u32, &str) -> bool) -> f64 {
    let mut ticks = 0_u64;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        let name = head.split_once('(').map_or("", |(_, name)| name);
        if wanted(pid, name) {
            ticks += tail.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum::<u64>();
        }
    }
    ticks as f64 / 100.0
}

#[tokio::main]
async fn main() {
    let Ok(url) = std::env::var("DATABASE_URL") else {
        panic!("DATABASE_URL is not set; the head of benches/pipeline.rs says how to run this");
    };
    let (messages, connections, bytes) =
        (setting("MESSAGES", 20_000), setting("CONNECTIONS", 64), setting("BYTES", 4096));
    let (sink, mut taken) = sink().await;
    let service = service(&url, sink).await;
    let text = "The quick brown fox jumps over the lazy dog.\n".repeat(bytes / 45 + 1);
    let body = json!({"from": "a@example.org", "to": "b@example.net", "subject": "Benchmark", "text": &text[..bytes]});
    let body = Bytes::from(body.to_string());
    let mine = std::process::id();
    let own = || cpu(|pid, _| pid == mine);
    let postgres = || cpu(|_, name| name == "postgres");
    let (own_before, postgres_before, started) = (own(), postgres(), Instant::now());
    let left = Arc::new(AtomicUsize::new(messages));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..connections {
        senders.spawn(sender(service.address, body.clone(), Arc::clone(&left)));
    }
    let mut times = senders.join_all().await.concat();
    let accepted = started.elapsed();
    taken.wait_for(|count| *count >= messages).await.unwrap();
    let delivered = started.elapsed();
    times.sort_unstable();
    let per_message = |seconds: f64| seconds * 1e6 / messages as f64;
    let rate = |time: Duration| messages as f64 / time.as_secs_f64();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let report = format!(
        "{messages} messages of {bytes} bytes over {connections} connections\n\
         accepted   {:>8.0} /s   p50 {:.1} ms   p99 {:.1} ms\n\
         delivered  {:>8.0} /s\n\
         CPU        {:>8.0} us per message: {:.0} here (service, load, sink), {:.0} Postgres\n",
        rate(accepted),
        at(50),
        at(99),
        rate(delivered),
        per_message(own() - own_before + postgres() - postgres_before),
        per_message(own() - own_before),
        per_message(postgres() - postgres_before),
    );
    std::io::stdout().write_all(report.as_bytes()).unwrap();
    service.stop(&CancellationToken::new()).await;
}
