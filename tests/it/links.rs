//! Links of ours in mail: to want no more of a kind of mail, and those that are counted; followed by people, by mail clients and by
//! machines.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to, status_of};
use crate::support::dkim::{add_domain, verdicts};
use crate::support::http::Answer;
use crate::support::process::run;
use crate::support::receiver::Receiver;
use crate::support::sink::{Do, Sink, Step};
use crate::support::within;

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36";
const ONE_CLICK: &[u8] = b"List-Unsubscribe=One-Click";

/// A service that delivers to a sink, from a domain with keys.
struct World {
    app: App,
    sink: Sink,
    records: Vec<String>,
}

impl World {
    async fn start() -> Self {
        Self::with(Sink::start().await, Setup::new()).await
    }

    async fn with(sink: Sink, setup: Setup) -> Self {
        let setup =
            setup.route_to(sink.address).set("http.public_url", "https://mail.example.net").set("dkim.cache", "0s");
        let app = setup.start().await;
        let records = add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
        Self { app, sink, records }
    }

    /// Delivers a message; gives its id and its bytes.
    async fn delivered(&self, message: &Value) -> (String, Vec<u8>) {
        let before = self.sink.taken_count();
        let id = self.app.send(message).await;
        self.app.settled(&id).await;
        let taken = self.sink.until_taken(before + 1).await;
        (id, taken[before].data.clone())
    }

    async fn events(&self, id: &str, event_type: &str) -> Vec<Value> {
        let events = self.app.events(id).await;
        events.into_iter().filter(|event| event["type"] == event_type).collect()
    }

    async fn suppressions(&self) -> Vec<Value> {
        self.app.get("/v1/suppressions").await.json()["data"].as_array().unwrap().clone()
    }

    async fn follow(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.call("GET", path, headers, Vec::new()).await
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        within(path, async { self.app.client().request(method, path, headers, body).await.unwrap() }).await
    }

    async fn call_as_owner(&self, method: &str, path: &str) -> u16 {
        self.app.call_as(&self.app.live, method, path, &[], Vec::new()).await.status
    }

    async fn click_once(&self, path: &str) -> Answer {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        self.call("POST", path, &form, ONE_CLICK.to_vec()).await
    }
}

fn newsletter(to: &str) -> Value {
    let mut message = message_to(to);
    message["unsubscribe"] = json!({"stream": "news"});
    message
}

/// What stands behind the host of the first of our links that begins with this.
fn link(raw: &[u8], way: &str) -> String {
    let text = String::from_utf8_lossy(raw).replace("=\r\n", "").replace("=3D", "=");
    let start = text.find(&format!("https://mail.example.net/{way}/")).unwrap_or_else(|| panic!("no link in {text}"));
    let rest = &text[start + "https://mail.example.net".len()..];
    rest[..rest.find(['>', '"', '\'']).unwrap()].to_owned()
}

#[tokio::test]
async fn one_click_ends_a_kind_of_mail_and_looking_at_the_link_does_not() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let hook = json!({"url": receiver.url(), "events": ["message.unsubscribed"]});
    assert_eq!(world.app.post("/v1/webhooks", &hook).await.status, 201);
    let (id, raw) = world.delivered(&newsletter("Ada@Example.com")).await;
    let text = String::from_utf8(raw.clone()).unwrap();
    assert_eq!(text.matches("List-Unsubscribe: <https://").count(), 1, "{text}");
    assert!(text.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{text}");
    let verdict = verdicts(&raw, &world.records).await;
    assert!(verdict.iter().any(|line| line.ends_with("good")), "{verdict:?}");
    let signed = text.split("h=").nth(1).unwrap().split("; ").next().unwrap().replace("\r\n ", "").replace(' ', "");
    for name in ["list-unsubscribe", "list-unsubscribe-post"] {
        assert!(signed.split(':').any(|signed| signed.trim_end_matches(';').eq_ignore_ascii_case(name)), "{signed}");
    }
    let path = link(&raw, "u");
    for (language, words) in [("en-GB", "Unsubscribe?"), ("zh-CN,zh;q=0.9,en;q=0.8", "要退订吗")] {
        let page = world.follow(&path, &[("accept-language", language)]).await;
        assert!(page.status == 200 && page.text().contains(words) && page.text().contains("news"), "{}", page.text());
        assert!(page.header("content-security-policy").contains("form-action 'self'"));
    }
    assert!(world.suppressions().await.is_empty(), "whoever looks changes nothing");
    let answer = world.click_once(&path).await;
    assert_eq!((answer.status, answer.text().as_str(), answer.header("location")), (200, "", ""));
    let multipart = "--x\r\nContent-Disposition: form-data; name=\"list-unsubscribe\"\r\n\r\none-click\r\n--x--\r\n";
    let form = [("content-type", "multipart/form-data; boundary=x"), ("cookie", "a=b")];
    assert_eq!(world.call("POST", &path, &form, multipart.as_bytes().to_vec()).await.status, 200, "twice is once");
    let entries = world.suppressions().await;
    assert_eq!(entries.len(), 1);
    assert_eq!((&entries[0]["email"], &entries[0]["scope"]), (&json!("ada@example.com"), &json!("stream:news")));
    assert_eq!((&entries[0]["reason"], &entries[0]["evidence"]["message_id"]), (&json!("unsubscribe"), &json!(id)));
    let told = world.events(&id, "message.unsubscribed").await;
    assert_eq!((told.len(), &told[0]["stream"]), (1, &json!("news")), "{told:?}");
    let hooks = receiver.until(1).await;
    assert_eq!(hooks[0].json()["data"]["stream"], "news");
    // Somebody takes it back at her wish; and she changes her mind.
    let taken_back = format!("/v1/suppressions/{}", entries[0]["id"].as_str().unwrap());
    assert_eq!(world.call_as_owner("DELETE", &taken_back).await, 204);
    for _ in 0..2 {
        assert_eq!(world.click_once(&path).await.status, 200);
    }
    assert_eq!(world.events(&id, "message.unsubscribed").await.len(), 2, "told again, and once");
    assert!(world.app.message(&id).await["recipients"][0]["unsubscribed_at"].is_string());
    // That kind of mail ends, and no other.
    let stopped = world.app.send(&newsletter("ada@example.com")).await;
    assert_eq!(status_of(&world.app.settled(&stopped).await, "ada@example.com"), "suppressed");
    world.delivered(&message_to("ada@example.com")).await;
    let mut other = newsletter("ada@example.com");
    other["unsubscribe"]["stream"] = json!("alerts");
    world.delivered(&other).await;
    let reports = world.app.get(&format!("/v1/messages/{id}/reports")).await.json();
    assert_eq!((&reports["data"][0]["source"], &reports["data"][0]["meaning"]), (&json!("link"), &json!("opt_out")));
}

#[tokio::test]
async fn a_person_unsubscribes_by_the_page() {
    let world = World::start().await;
    let (_, raw) = world.delivered(&newsletter("ada@example.com")).await;
    let path = link(&raw, "u");
    let body = b"List-Unsubscribe=One-Click&page=1".to_vec();
    let form = [("content-type", "application/x-www-form-urlencoded"), ("accept-language", "zh-CN")];
    let done = world.call("POST", &path, &form, body).await;
    assert!(done.status == 200 && done.text().contains("您已退订"), "{}", done.text());
    assert_eq!(world.suppressions().await.len(), 1);
}

#[tokio::test]
async fn what_is_no_link_of_ours_does_nothing() {
    let world = World::start().await;
    let (_, raw) = world.delivered(&newsletter("ada@example.com")).await;
    let path = link(&raw, "u");
    let mut forged = path.clone().into_bytes();
    let last = forged.len() - 3;
    forged[last] = if forged[last] == b'a' { b'b' } else { b'a' };
    let forged = String::from_utf8(forged).unwrap();
    let token = path.strip_prefix("/u/").unwrap();
    for path in [forged.as_str(), "/u/x", &format!("/u/{}", "a".repeat(5000)), "/u/%00%ff"] {
        assert!((400..500).contains(&world.click_once(path).await.status), "{path}");
        assert!((400..500).contains(&world.follow(path, &[]).await.status), "{path}");
    }
    for body in [&b""[..], b"List-Unsubscribe=No", b"x=1", &[0xff; 100]] {
        assert_eq!(world.call("POST", &path, &[], body.to_vec()).await.status, 400, "{body:?}");
    }
    assert_eq!(world.call("POST", &path, &[], vec![b'x'; 1 << 20]).await.status, 413);
    for path in [
        format!("/c/{token}?u=https://evil.example/"),
        format!("/c/{token}"),
        "/c/x?u=https://evil.example/".to_owned(),
    ] {
        let answer = world.follow(&path, &[]).await;
        assert_eq!((answer.status, answer.header("location")), (404, ""), "{path}");
    }
    assert_eq!(world.follow(&format!("/o/{token}.gif"), &[]).await.status, 200, "an image is never broken");
    assert!(world.suppressions().await.is_empty());
}

#[tokio::test]
async fn at_a_domains_own_host_links_of_its_project_alone_are_followed() {
    let world = World::start().await;
    add_domain(&world.app.database.url, "shop.example.org", &["--algorithm", "ed25519-sha256"]).await;
    let output = run(&world.app.database.url, &["domains", "add", "--project", "victim", "victim.example"]).await;
    assert!(output.status.success(), "{output:?}");
    let mut message = newsletter("ada@example.com");
    message["html"] = json!("<a href=\"https://evil.example/\">x</a>");
    message["tracking"] = json!({"opens": true, "clicks": true});
    let (id, raw) = world.delivered(&message).await;
    let parsed = mail_parser::MessageParser::default().parse(&raw).unwrap();
    let html = parsed.body_html(0).unwrap();
    let (click, open, unsubscribe) = (link(html.as_bytes(), "c"), link(html.as_bytes(), "o"), link(&raw, "u"));
    for host in ["links.victim.example", "LINKS.victim.example:443", "links.victim.example."] {
        let host = [("host", host)];
        let led = world.follow(&click, &host).await;
        assert_eq!((led.status, led.header("location")), (404, ""), "{host:?}");
        assert_eq!(world.follow(&unsubscribe, &host).await.status, 404, "{host:?}");
        assert_eq!(world.call("POST", &unsubscribe, &host, ONE_CLICK.to_vec()).await.status, 400, "{host:?}");
        assert_eq!(world.follow(&open, &host).await.status, 200, "an image is never broken");
    }
    assert!(world.events(&id, "message.opened").await.is_empty() && world.suppressions().await.is_empty());
    for host in ["links.example.org", "links.shop.example.org", "mail.example.net", "10.0.0.1:8080", "nobodys.example"]
    {
        let led = world.follow(&click, &[("host", host), ("user-agent", CHROME)]).await;
        assert_eq!((led.status, led.header("location")), (302, "https://evil.example/"), "{host}");
    }
}

#[tokio::test]
async fn a_link_works_when_its_message_is_long_gone() {
    let world = World::start().await;
    let (_, raw) = world.delivered(&newsletter("ada@example.com")).await;
    for table in ["messages", "recipients", "message_bodies"] {
        world.app.database.execute(&format!("DELETE FROM {table}")).await;
    }
    assert_eq!(world.click_once(&link(&raw, "u")).await.status, 200);
    let stopped = world.app.send(&newsletter("Ada@example.com")).await;
    assert_eq!(status_of(&world.app.settled(&stopped).await, "Ada@example.com"), "suppressed");
    world.delivered(&message_to("ada@example.com")).await;
}

#[tokio::test]
async fn mail_that_waits_for_its_next_try_ends_too() {
    let seen = AtomicUsize::new(0);
    let greylisting = move |step: &Step, _: usize| match step {
        Step::Rcpt(_) if seen.fetch_add(1, Ordering::Relaxed) > 0 => Do::Reply("451 4.7.1 greylisted"),
        _ => Do::Usual,
    };
    let sink = Sink::setup().script(greylisting).start().await;
    let world = World::with(sink, Setup::new().set("delivery.retry", "1h")).await;
    let (_, raw) = world.delivered(&newsletter("ada@example.com")).await;
    let waiting = world.app.send(&newsletter("ada@example.com")).await;
    world.app.until(&waiting, "deferred", |message| message["recipients"][0]["status"] == "deferred").await;
    assert_eq!(world.click_once(&link(&raw, "u")).await.status, 200);
    world.app.clock.advance(Duration::from_hours(2));
    let settled = world.app.settled(&waiting).await;
    assert_eq!(status_of(&settled, "ada@example.com"), "suppressed", "{settled:#}");
}

#[tokio::test]
async fn links_are_one_recipients_own() {
    let world = World::start().await;
    let mut both = newsletter("ada@example.com");
    both["to"] = json!(["ada@example.com", "bob@example.com"]);
    let answer = world.app.post("/v1/send", &both).await;
    assert_eq!(answer.faults(), [("/unsubscribe".to_owned(), "conflict".to_owned())]);
    both["per_recipient"] = json!([{}, {}]);
    world.app.send(&both).await;
    let taken = world.sink.until_taken(2).await;
    let links: Vec<_> = taken.iter().map(|taken| link(&taken.data, "u")).collect();
    assert_ne!(links[0], links[1]);
    assert_eq!(world.click_once(&links[0]).await.status, 200);
    assert_eq!(world.suppressions().await[0]["email"], json!(taken[0].recipient));
    for (field, value, at) in [
        ("cc", json!("c@example.com"), "/unsubscribe"),
        ("unsubscribe", json!({}), "/unsubscribe/stream"),
        ("unsubscribe", json!({"stream": "a b"}), "/unsubscribe/stream"),
        ("unsubscribe", json!({"stream": "x".repeat(65)}), "/unsubscribe/stream"),
        ("unsubscribe", json!("news"), "/unsubscribe"),
        ("headers", json!({"list-unsubscribe": "<mailto:a@b.c>"}), "/headers/List-Unsubscribe"),
        ("tracking", json!({"opens": "yes"}), "/tracking/opens"),
        ("tracking", json!({"open": true}), "/tracking/open"),
    ] {
        let mut message = newsletter("ada@example.com");
        message[field] = value;
        let faults = world.app.post("/v1/send", &message).await.faults();
        assert_eq!(faults.iter().map(|(pointer, _)| pointer.as_str()).collect::<Vec<_>>(), [at], "{field}");
    }
    let mut foreign = newsletter("ada@example.com");
    foreign["from"] = json!("a@unsigned.example");
    let answer = world.app.post("/v1/send", &foreign).await;
    assert!(answer.status == 422 && answer.text().contains("DKIM"), "{}", answer.text());
}

#[tokio::test]
async fn without_a_public_address_live_mail_has_no_links_and_test_mail_leads_here() {
    let app = App::start().await;
    add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
    let answer = app.post("/v1/send", &newsletter("ada@example.com")).await;
    assert!(answer.status == 422 && answer.text().contains("http.public_url"), "{}", answer.text());
    let answer = app
        .call_as(
            &app.test,
            "POST",
            "/v1/send?dry_run=true",
            &[],
            newsletter("ada@example.com").to_string().into_bytes(),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn opens_and_clicks_are_told_and_machines_are_flagged() {
    let world = World::start().await;
    let mut message = message_to("ada@example.com");
    message["html"] = json!(
        "<html><body><p title='<a href=\"https://no.example\">'>Hi</p><a class=x HREF='https://shop.example/o?a=1&amp;b=ü'>Order</a> \
         <a href=https://plain.example/>p</a><a href=\"mailto:a@b.c\">m</a><script>x('<a href=\"https://s.example\">')</script></body></html>"
    );
    message["tracking"] = json!({"opens": true, "clicks": true});
    let (id, raw) = world.delivered(&message).await;
    let parsed = mail_parser::MessageParser::default().parse(&raw).unwrap();
    let html = parsed.body_html(0).unwrap();
    assert!(
        html.contains("mailto:a@b.c") && html.contains("https://s.example") && html.contains("https://no.example"),
        "{html}"
    );
    assert!(html.contains("/c/") && !html.contains("href=https://plain.example/") && html.contains(".gif"), "{html}");
    let text = parsed.body_text(0).unwrap();
    assert!(!text.contains("mail.example.net"), "nobody is counted by the text: {text}");
    let click = link(html.as_bytes(), "c");
    // What comes as fast as this was no person; however slow the machine is.
    world.app.database.execute("UPDATE recipients SET settled_at = now() + interval '1 minute'").await;
    let answer = world.follow(&click, &[("user-agent", CHROME)]).await;
    assert_eq!((answer.status, answer.header("location")), (302, "https://shop.example/o?a=1&b=%C3%BC"));
    world.app.database.execute("UPDATE recipients SET settled_at = now() - interval '1 hour'").await;
    world.follow(&click, &[("user-agent", CHROME)]).await;
    let open = link(html.as_bytes(), "o");
    let pixel = world.follow(&open, &[("user-agent", "Mozilla/5.0")]).await;
    assert_eq!(
        (pixel.status, pixel.header("content-type"), pixel.header("cache-control")),
        (200, "image/gif", "no-store")
    );
    world.follow(&open, &[("user-agent", CHROME)]).await;
    world.call("HEAD", &open, &[("user-agent", CHROME)], Vec::new()).await;
    let clicked = world.events(&id, "message.clicked").await;
    let machines: Vec<_> = clicked.iter().map(|event| event["engagement"]["machine"].clone()).collect();
    assert_eq!(machines, [json!("scanner"), json!(null)]);
    assert_eq!(clicked[1]["engagement"]["url"], "https://shop.example/o?a=1&b=ü");
    let opened = world.events(&id, "message.opened").await;
    let machines: Vec<_> = opened.iter().map(|event| event["engagement"]["machine"].clone()).collect();
    assert_eq!(machines, [json!("prefetch"), json!(null)]);
    let message = world.app.message(&id).await;
    assert_eq!(status_of(&message, "ada@example.com"), "delivered");
    let recipient = &message["recipients"][0];
    assert_eq!(
        (&recipient["opened_at"], &recipient["clicked_at"]),
        (&opened[0]["occurred_at"], &clicked[0]["occurred_at"])
    );
    assert_eq!(recipient["unsubscribed_at"], Value::Null);
    for _ in 0..40 {
        assert_eq!(world.follow(&open, &[("user-agent", CHROME)]).await.status, 200);
    }
    assert_eq!(
        world.events(&id, "message.opened").await.len(),
        20,
        "whoever opens it again and again is told of no more"
    );
}

#[tokio::test]
async fn nothing_is_counted_unless_it_is_asked_for() {
    let world = World::start().await;
    let mut message = message_to("ada@example.com");
    message["html"] = json!("<a href=\"https://shop.example/\">Order</a>");
    let (_, raw) = world.delivered(&message).await;
    let text = String::from_utf8(raw).unwrap();
    assert!(!text.contains("mail.example.net") && !text.contains("<img"), "{text}");
}

#[tokio::test]
async fn a_click_leads_on_while_the_store_is_away() {
    let world = World::start().await;
    let mut message = message_to("ada@example.com");
    message["html"] = json!("<a href=\"https://shop.example/\">Order</a>");
    message["tracking"] = json!({"clicks": true});
    let (_, raw) = world.delivered(&message).await;
    let path = link(&raw, "c");
    world.app.database.execute("ALTER TABLE events RENAME TO events_away").await;
    let answer = world.follow(&path, &[("user-agent", CHROME)]).await;
    assert_eq!((answer.status, answer.header("location")), (302, "https://shop.example/"));
    world.app.database.execute("ALTER TABLE events_away RENAME TO events").await;
}
