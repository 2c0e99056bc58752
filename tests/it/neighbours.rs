//! What one project can take of the service while others need it: bytes of requests and of answers, connections, time.

use std::io::Write;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value, json};
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::app::{App, Setup, message_to};
use crate::support::database::Database;
use crate::support::http::Client;
use crate::support::process::{Server, command, create_key, resident};
use crate::support::within;

/// The head of a request with a body.
fn head(method: &str, path: &str, key: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{more}\r\n\r\n"
    )
}

/// A connection on which these bytes were written.
async fn written(app: &App, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// The status of the answer on a connection.
async fn status(stream: &mut TcpStream) -> String {
    let mut answer = [0; 12];
    within("an answer", stream.read_exact(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

#[tokio::test]
async fn eight_clients_that_send_gzip_or_chunked_bodies_beside_each_other_are_all_taken() {
    let app = Arc::new(Setup::new().paused().start().await);
    let body = message_to("a@example.net").to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(body.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let compressed = [
        head("POST", "/v1/send", &app.live, &format!("content-encoding: gzip\r\ncontent-length: {}", gzip.len()))
            .as_bytes(),
        &gzip,
    ]
    .concat();
    let chunked = head("POST", "/v1/send", &app.live, "transfer-encoding: chunked")
        + &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for request in [compressed, chunked.into_bytes()] {
        let clients = (0..8).map(|_| {
            let (app, request) = (Arc::clone(&app), request.clone());
            tokio::spawn(async move {
                for _ in 0..25 {
                    assert_eq!(status(&mut written(&app, &request).await).await, "202");
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    }
}

#[tokio::test]
async fn who_sends_a_byte_and_stops_stops_nobody_and_is_told_so() {
    let app = Setup::new().paused().start().await;
    let mut slow = Vec::new();
    for more in
        ["content-length: 41943040", "transfer-encoding: chunked", "content-encoding: gzip\r\ncontent-length: 41943040"]
    {
        for _ in 0..12 {
            let request =
                head("POST", "/v1/send", &app.live, more) + if more.starts_with("transfer") { "1\r\n{" } else { "{" };
            slow.push(written(&app, request.as_bytes()).await);
        }
    }
    for n in 0..50 {
        app.send(&message_to(&format!("r{n}@example.net"))).await;
    }
    // A credential without the scope is told so before any of its body is waited for.
    let reader = create_key(&app.database.url, "shop", "live", "messages:read").await;
    let mut refused =
        written(&app, (head("POST", "/v1/send", &reader, "content-length: 41943040") + "{").as_bytes()).await;
    assert_eq!(status(&mut refused).await, "403");
    for stream in &mut slow {
        assert_eq!(status(stream).await, "408");
    }
}

#[tokio::test]
async fn a_project_holds_no_more_of_the_memory_for_bodies_than_it_leaves_to_others() {
    let setup = Setup::new().paused().set("http.body_bytes_in_flight", "4MiB").set("http.body_limit", "2MiB");
    let app = setup.start().await;
    let other = create_key(&app.database.url, "other", "live", "send").await;
    let part = vec![b' '; 1 << 20];
    let mut held = Vec::new();
    for _ in 0..6 {
        let request = [head("POST", "/v1/send", &app.live, "content-length: 2097152").as_bytes(), &part].concat();
        held.push(written(&app, &request).await);
    }
    // Half of all is its share: that is room for two of them, whichever come first.
    let mut answers: FuturesUnordered<_> = held.iter_mut().map(status).collect();
    for _ in 0..4 {
        assert_eq!(answers.next().await.unwrap(), "429");
    }
    let mut body = message_to("a@example.net");
    body["text"] = json!("x".repeat(512 << 10));
    let answer = app.call_as(&other, "POST", "/v1/send", &[], body.to_string().into_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[tokio::test]
async fn a_refusal_tells_few_faults_of_bounded_length() {
    let app = Setup::new().paused().start().await;
    let name = "y".repeat(806);
    let unknown: Map<String, Value> = (0..49_800).map(|n| (format!("{name}{n}"), json!(1))).collect();
    let answer = app.post("/v1/send", &Value::Object(unknown)).await;
    assert_eq!(answer.status, 422);
    assert!(answer.bytes.len() < 64 << 10, "{} bytes", answer.bytes.len());
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 50);
    // In each item of a batch, and below a name that is long itself.
    let long = "z".repeat(10_000);
    let item = json!({"from": "a", &*long: {"x": 1}, "headers": {&*long: 1}, "metadata": {&*long: [1]}, "to": (0..900).collect::<Vec<u32>>()});
    let items: Vec<_> = (0..90).map(|_| item.clone()).collect();
    for mode in ["strict", "permissive"] {
        let answer = app.post("/v1/send/batch", &json!({"messages": items, "mode": mode})).await;
        assert!([207, 422].contains(&answer.status), "{}", answer.status);
        assert!(answer.bytes.len() < 10 << 20, "{mode}: {} bytes", answer.bytes.len());
    }
    let twice = format!("{{{}}}", (0..200).map(|_| format!("\"{long}\":1,\"{long}\":2")).collect::<Vec<_>>().join(","));
    let answer = app.call_as(&app.live, "POST", "/v1/send", &[], twice.into_bytes()).await;
    assert!((400..500).contains(&answer.status) && answer.bytes.len() < 64 << 10, "{}", answer.bytes.len());
}

#[tokio::test]
async fn answers_that_nobody_reads_are_held_within_a_share() {
    let app = Setup::new().set("http.answer_bytes_in_flight", "80MiB").start().await;
    let other = create_key(&app.database.url, "other", "test", "admin").await;
    let large = |to: &str| {
        let mut message = message_to(to);
        message["text"] = json!("x".repeat(16 << 20));
        message
    };
    let id = app.send_as(&app.test, &large("a@example.net")).await;
    let others = app.send_as(&other, &large("b@example.net")).await;
    let asked = |key: &str, id: &str| {
        format!("GET /v1/messages/{id}/raw HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n")
    };
    let (mut unread, mut refused) = (Vec::new(), 0);
    for _ in 0..8 {
        let mut stream = written(&app, asked(&app.test, &id).as_bytes()).await;
        // Its head and no more.
        match &*status(&mut stream).await {
            "200" => unread.push(stream),
            "429" => refused += 1,
            status => panic!("{status}"),
        }
    }
    assert!((1..=3).contains(&unread.len()) && refused >= 5, "{} and {refused}", unread.len());
    let answer = app.get_as(&other, &format!("/v1/messages/{others}/raw")).await;
    assert!(answer.status == 200 && answer.bytes.len() > 16 << 20, "what another asks for has room: {}", answer.status);
    drop(unread);
    within("what was held to be given back", async {
        while app.get_as(&app.test, &format!("/v1/messages/{id}/raw")).await.status != 200 {}
    })
    .await;
}

#[tokio::test]
async fn what_is_only_rehearsed_is_bounded_as_what_is_sent() {
    let app = Setup::new().paused().set("limits.batch_bytes", "1MiB").start().await;
    let mut message = message_to("a@example.net");
    message["text"] = json!("x".repeat(400 << 10));
    for path in ["/v1/send/batch?dry_run=true", "/v1/send/batch"] {
        let answer = app.post(path, &json!({"messages": vec![message.clone(); 5]})).await;
        assert_eq!(answer.status, 413, "{path}: {}", answer.text());
    }
}

/// The bar, in full: 40 connections that send a byte and stop, 20 readers that read nothing of the largest answers there are; others' accepts p99 at most 1 s,
/// at most 256 MiB more. In scripts/nightly with a release build.
#[tokio::test]
#[ignore = "a bar: scripts/nightly"]
async fn hostile_connections_neither_slow_accepts_nor_fill_the_memory() {
    let database = Database::new().await;
    let server = Server::start(&database.url, &[]).await;
    let (mean, other) = (
        create_key(&database.url, "mean", "test", "admin").await,
        create_key(&database.url, "other", "test", "send,messages:read").await,
    );
    let mut client = Client::new(&server.address);
    let mut post = async |key: &str, path: &str, body: Vec<u8>| {
        let headers = [("authorization", &*format!("Bearer {key}")), ("content-type", "application/json")];
        client.request("POST", path, &headers, body).await.unwrap()
    };
    let mut message = message_to("a@example.net");
    message["text"] = json!(("x".repeat(70) + "\r\n").repeat(330_000));
    let sent = post(&mean, "/v1/send", message.to_string().into_bytes()).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    database.until_count("SELECT count(*) FROM sandbox_messages", 1).await;
    let copy: Uuid = sqlx::query_scalar("SELECT id FROM sandbox_messages").fetch_one(&database.pool).await.unwrap();
    let asked = format!("/v1/sandbox/messages/{}", mailwright::domain::id::RecipientId::from_uuid(copy));
    let small = message_to("b@example.net").to_string().into_bytes();

    for _ in 0..200 {
        assert_eq!(post(&other, "/v1/send", small.clone()).await.status, 202);
    }
    let before = resident(server.child.id().unwrap()) >> 10;
    let mut held = Vec::new();
    for n in 0..40 {
        let more = if n % 2 == 0 { "content-length: 41943040" } else { "transfer-encoding: chunked" };
        let request = head("POST", "/v1/send", &mean, more) + if n % 2 == 0 { "{" } else { "1\r\n{" };
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let request = format!("GET {asked} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {mean}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let (mut took, mut most) = (Vec::new(), before);
    for _ in 0..2000 {
        let began = std::time::Instant::now();
        assert_eq!(post(&other, "/v1/send", small.clone()).await.status, 202);
        took.push(began.elapsed());
        most = most.max(resident(server.child.id().unwrap()) >> 10);
    }
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    let figure = format!(
        "accepts p99 {} ms, longest {} ms; memory {before} MiB, at most {most} MiB\n",
        p99.as_millis(),
        took.last().unwrap().as_millis()
    );
    std::fs::write(std::env::temp_dir().join("mailwright-hostile-connections"), &figure).unwrap();
    assert!(p99 <= std::time::Duration::from_secs(1) && most - before <= 256, "{figure}");
    server.kill().await;
}

#[tokio::test]
async fn idle_connections_make_room_for_who_comes() {
    let app = Setup::new().set("http.connections", 20).set("http.admin_listen", "127.0.0.1:0").start().await;
    let mut kept = TcpStream::connect(app.address).await.unwrap();
    let mut ask = async || {
        let request = format!("GET /v1/limits HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", app.live);
        kept.write_all(request.as_bytes()).await?;
        let mut answer = vec![0; 4096];
        kept.read(&mut answer).await.map(|count| answer[..count].starts_with(b"HTTP/1.1 200"))
    };
    assert!(ask().await.unwrap());
    let mut idle = Vec::new();
    for n in 0..100 {
        // From the address of everybody here, and from another.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
        let mut stream = within("a connection", socket.connect(app.address)).await.unwrap();
        stream.write_all(if n % 2 == 0 { b"GET /" } else { b"" }).await.unwrap();
        idle.push(stream);
        if n % 10 == 0 {
            app.send(&message_to(&format!("r{n}@example.net"))).await;
        }
    }
    assert!(ask().await.unwrap(), "a flood from one address closes no connection of another");
    // What operators ask for has connections of its own, and the metrics are nowhere else.
    let asked = async |address: std::net::SocketAddr, path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", app.live);
        stream.write_all(request.as_bytes()).await.unwrap();
        status(&mut stream).await
    };
    for (path, here, there) in [
        ("/healthz", "200", "200"),
        ("/readyz", "200", "200"),
        ("/metrics", "200", "404"),
        ("/v1/limits", "404", "200"),
        ("/console/inbox", "404", "200"),
    ] {
        let answered = (asked(app.service.admin[0], path).await, asked(app.address, path).await);
        assert_eq!((&*answered.0, &*answered.1), (here, there), "{path}");
    }
}

#[tokio::test]
async fn lists_that_do_not_end_keep_nobody_from_being_known_from_sending_or_from_listing() {
    let app = Arc::new(Setup::new().paused().set("database.connections", 4).set("auth.cache", "0s").start().await);
    let other = create_key(&app.database.url, "other", "live", "").await;
    let endpoint = app.post("/v1/webhooks", &json!({"url": "http://127.0.0.1:9/x"})).await.json();
    let path = format!("/v1/webhooks/{}/deliveries", endpoint["id"].as_str().unwrap());
    let mut holder = sqlx::PgConnection::connect(&app.database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE webhook_deliveries IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
    let lists = (0..40).map(|_| {
        let (app, path) = (Arc::clone(&app), path.clone());
        tokio::spawn(async move { app.get(&path).await.status })
    });
    let mut lists: FuturesUnordered<_> = lists.collect();
    // Their share is taken, and the others of them are told so.
    assert_eq!(lists.next().await.unwrap().unwrap(), 429);
    for n in 0..20 {
        app.send_as(&other, &message_to(&format!("r{n}@example.net"))).await;
        assert_eq!(app.get_as(&other, "/v1/messages").await.status, 200);
        // What the same project does besides listing goes on, too.
        app.send(&message_to(&format!("s{n}@example.net"))).await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    while let Some(status) = lists.next().await {
        assert!([200, 429, 503].contains(&status.unwrap()));
    }
    assert_eq!(app.get(&path).await.status, 200);
}

/// Starts with so many descriptors at most.
async fn server_with_descriptors(url: &str, limit: usize, settings: &str) -> Server {
    let usual = command(url, &[]);
    let mut limited = tokio::process::Command::new("bash");
    limited.env_clear().envs(usual.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    let binary = env!("CARGO_BIN_EXE_mailwright");
    let script = format!("ulimit -n {limit}; exec {binary} serve --set http.listen=127.0.0.1:0 {settings}");
    limited.args(["-c", &script]).kill_on_drop(true);
    Server::from_command(limited).await
}

#[tokio::test]
async fn with_1024_descriptors_and_1500_idle_connections_mail_is_taken_and_delivered() {
    let database = Database::new().await;
    let sink = crate::support::sink::Sink::start().await;
    let key = create_key(&database.url, "shop", "live", "send").await;
    let settings = format!("--set delivery.route='smtp://{}?tls=none' --set http.header_timeout=1h", sink.address);
    let server = server_with_descriptors(&database.url, 1024, &settings).await;
    let mut idle = Vec::new();
    for _ in 0..1500 {
        idle.push(TcpStream::connect(&server.address).await.unwrap());
    }
    let mut client = Client::new(&server.address);
    for n in 0..100 {
        let headers = [("authorization", &*format!("Bearer {key}")), ("content-type", "application/json")];
        let body = message_to(&format!("r{n}@example.net")).to_string().into_bytes();
        let answer = within("an answer", client.request("POST", "/v1/send", &headers, body)).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    sink.until_taken(100).await;
    database.until_count("SELECT count(*) FROM recipients WHERE status = 'delivered' AND attempts = 1", 100).await;
    server.kill().await;
}

#[tokio::test]
async fn what_a_proxy_may_read_in_another_way_is_not_taken() {
    let app = Setup::new().paused().start().await;
    let get = |more: &str| format!("GET /v1/limits HTTP/1.1\r\nauthorization: Bearer {}\r\n{more}\r\n\r\n", app.live);
    for (more, wanted) in [
        ("host: x", "200"),
        ("accept: */*", "400"),
        ("host: x\r\nhost: y", "400"),
        ("host: x\r\nauthorization: Bearer other", "400"),
        ("host: x\r\ntransfer-encoding: gzip, chunked", "400"),
        ("host: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked", "400"),
    ] {
        assert_eq!(status(&mut written(&app, get(more).as_bytes()).await).await, wanted, "{more}");
    }
    let answer = app.get("/v1/limits").await;
    assert_eq!(answer.header("cache-control"), "no-store");
}
