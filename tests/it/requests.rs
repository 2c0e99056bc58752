//! Requests as they really come: by clients that write on, in codings of every spelling, and by no client at all.

use std::io::Write;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{App, Setup, message_to};
use crate::support::within;

/// What the server answers to these bytes, once it has closed the connection.
async fn raw(app: &App, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    within(&format!("the server to close after {shown:?}"), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn what_is_no_http_is_a_problem_with_an_id() {
    let app = Setup::new().paused().start().await;
    let long = format!("GET /v1/messages?q={} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(90_000));
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "x".repeat(400_000));
    for (request, statuses) in [
        ("GET /v1/messages?q=< HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &["400"][..]),
        ("hello\r\n\r\n".to_owned(), &["400"]),
        ("GET / HTTP/1.1\r\nhost: x\r\nb\0d: x\r\n\r\n".to_owned(), &["400"]),
        (long, &["414", "431"]),
        (large, &["431"]),
    ] {
        let answer = raw(&app, request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(statuses.iter().any(|status| head.starts_with(&format!("HTTP/1.1 {status} "))), "{head}");
        assert!(head.contains("application/problem+json") && head.contains("x-request-id: req_"), "{head}");
        let problem: Value = serde_json::from_str(body).unwrap();
        assert!(problem["instance"].as_str().unwrap().starts_with("/requests/req_"), "{problem}");
    }
}

#[tokio::test]
async fn a_client_that_writes_on_reads_why_it_was_refused() {
    let app = Setup::new().paused().set("http.body_limit", "64KiB").start().await;
    let body = vec![b'x'; 8 << 20];
    let head = |key: &str, announced: &str| {
        format!(
            "POST /v1/send HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{announced}\r\n\r\n"
        )
    };
    let announced = format!("content-length: {}", body.len());
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    for (key, length, body, status) in [
        (&*app.live, &*announced, &body, "413"),
        (&*app.live, "transfer-encoding: chunked", &chunked, "413"),
        // Who may not send at all is told so, and not how large a body may be.
        ("mw_live_unknown", &*announced, &body, "401"),
    ] {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        // All of it is written before a byte is read, as many clients do.
        within("the server to take the body", stream.write_all(&[head(key, length).as_bytes(), body].concat()))
            .await
            .unwrap();
        let mut answer = [0; 12];
        within("an answer", stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"));
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_answered_at_once() {
    let app = Setup::new().paused().start().await;
    let request = format!(
        "POST /v1/send HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: 1000000000\r\n\r\n",
        app.live
    );
    let answer = raw(&app, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn codings_are_words_without_case_and_gzip_has_members() {
    let app = Setup::new().paused().start().await;
    let body = message_to("a@example.net").to_string();
    let gzip = |part: &str| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(part.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let (one, two) = (gzip(&body), [gzip(&body[..20]), gzip(&body[20..])].concat());
    for (coding, bytes, status) in [
        ("gzip", &one, 202),
        ("GZIP", &one, 202),
        ("x-gzip", &one, 202),
        ("identity, gzip", &one, 202),
        ("gzip", &two, 202),
        ("gzip, gzip", &one, 415),
        ("br", &one, 415),
    ] {
        let answer = app.call_as(&app.live, "POST", "/v1/send", &[("content-encoding", coding)], bytes.clone()).await;
        assert_eq!(answer.status, status, "{coding}: {}", answer.text());
    }
    let marked = [b"\xef\xbb\xbf", body.as_bytes()].concat();
    assert_eq!(app.call_as(&app.live, "POST", "/v1/send", &[], marked).await.status, 202, "a byte order mark");
}

#[tokio::test]
async fn small_bodies_take_little_of_the_memory_for_bodies() {
    // Room for two bodies of the largest size and no more.
    let app = Setup::new().paused().set("http.body_bytes_in_flight", "80MiB").start().await;
    let body = message_to("a@example.net").to_string();
    let head = format!(
        "POST /v1/send HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
        app.live,
        body.len()
    );
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    for mut stream in streams {
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        within("an answer", stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 202");
    }
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_its_own_time() {
    let app = Setup::new().paused().set("http.header_timeout", "50ms").set("http.keep_alive", "1h").start().await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let mut one_request = async || {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let length = within("an answer", stream.read(&mut answer)).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
    };
    one_request().await;
    // A neighbour that says nothing is closed after the time for a head: that much time has passed here too.
    let mut silent = TcpStream::connect(app.address).await.unwrap();
    assert_eq!(within("the silent one to be closed", silent.read(&mut [0; 8])).await.unwrap(), 0);
    one_request().await;
}

#[tokio::test]
async fn a_misspelt_name_is_answered_with_the_one_that_was_meant() {
    let app = Setup::new().paused().start().await;
    for (name, value, hint) in [
        ("replyTo", json!("a@x.test"), "reply_to"),
        ("ttl_second", json!(60), "ttl_seconds"),
        ("Subject", json!("x"), "subject"),
        ("recipients", json!("a@x.test"), "to"),
    ] {
        let mut body = message_to("a@example.net");
        body[name] = value;
        let answer = app.post("/v1/send", &body).await;
        assert!(answer.text().contains(&format!("did you mean '{hint}'?")), "{name}: {}", answer.text());
    }
    let answer = app.get("/v1/mesages").await;
    assert!(answer.text().contains("GET /v1/mesages; did you mean '/v1/messages'?"), "{}", answer.text());
    let mut body = message_to("a@example.net");
    body["ttl_seconds"] = json!(60.0);
    assert_eq!(app.post("/v1/send", &body).await.status, 202, "60.0 is a whole number");
}

#[tokio::test]
async fn a_recipient_named_twice_is_one_copy_and_still_found_in_the_request() {
    let app = Setup::new().paused().start().await;
    let mut body = message_to("x");
    body["to"] = json!(["Ann@x.test", "bob@x.test", "ANN@X.TEST"]);
    body["cc"] = json!("ann@x.test");
    let key = [("idempotency-key", "k1")];
    let send = async || app.call_as(&app.live, "POST", "/v1/send", &key, body.to_string().into_bytes()).await;
    let answer = send().await;
    let recipients = answer.json()["recipients"].clone();
    let shown: Vec<_> = recipients.as_array().unwrap().iter().map(|r| (&r["email"], &r["pointers"])).collect();
    assert_eq!(
        shown,
        [(&json!("Ann@x.test"), &json!(["/to/0", "/to/2", "/cc/0"])), (&json!("bob@x.test"), &json!(["/to/1"]))]
    );
    assert_eq!(send().await.text(), answer.text(), "a repetition says the same");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    for query in ["to=ann%40x.test", "to=ANN%40x.test", "from=SHOP%40example.org"] {
        assert_eq!(app.get(&format!("/v1/messages?{query}")).await.json()["data"][0]["id"], id.as_str(), "{query}");
    }
}
