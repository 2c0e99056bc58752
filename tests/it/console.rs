//! The inbox page, in a real browser.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::app::{App, Setup};
use crate::support::browser;
use crate::support::process::create_key;
use crate::support::receiver::Receiver;

async fn page(app: &App, entry: &str) -> String {
    browser::document(&format!("http://{}/console/inbox#key={}&message={entry}", app.address, app.test)).await
}

#[tokio::test]
async fn a_person_sees_a_message_in_all_its_parts_and_nothing_of_it_runs() {
    let app = Setup::new().start().await;
    let evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    let message = json!({
        "from": format!("{} <a@example.org>", "Mallory"), "to": "b@example.net", "subject": format!("Hello {evil}"),
        "text": format!("plain words http://shop.example/text. {evil}"), "html": format!("<link rel=preconnect href=http://tracker.example><base href=http://evil.example><p>rich words</p><a href=\"http://shop.example/reset\">Reset</a>{evil}"), "headers": {"X-Shown": "yes it is"},
        "attachments": [{"filename": "bill.txt", "content": "aGVsbG8=", "content_type": "text/plain"}]
    });
    let answer = app.call_as(&app.test, "POST", "/v1/send", &[], message.to_string().into_bytes()).await;
    app.settled(answer.json()["id"].as_str().unwrap()).await;
    let entry = answer.json()["recipients"][0]["id"].as_str().unwrap().to_owned();
    let document = page(&app, &entry).await;
    for wanted in
        ["b@example.net", "Hello &lt;img", "plain words", "rich words", "yes it is", "bill.txt", "Message-ID:"]
    {
        assert!(document.contains(wanted), "{wanted:?} is not on the page:\n{document}");
    }
    assert!(
        document.contains("<iframe") && document.contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""),
        "mail's HTML is in a sandboxed frame"
    );
    for wanted in ["href=\"http://shop.example/text\"", "target=\"_blank\"", "noopener"] {
        assert!(document.contains(wanted), "{wanted}: links open pages of their own\n{document}");
    }
    let frame = document.split_once("srcdoc=\"").unwrap().1.split_once('"').unwrap().0;
    assert!(
        frame.contains("rich words") && !frame.contains("tracker.example") && !frame.contains("evil.example"),
        "{frame}"
    );
    assert!(!document.contains("<title>owned</title>"));
    assert!(!document.contains(&app.test), "the key does not stay in the page");
}

#[tokio::test]
async fn the_docs_page_works_without_any_other_server() {
    let app = Setup::new().paused().start().await;
    let page = app.get("/docs").await;
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let text = page.text() + &app.get("/console/inbox").await.text();
    assert!(!text.contains("https://") && !text.contains("//cdn"), "nothing comes from elsewhere");
    let inbox = app.get("/console/inbox").await;
    for part in ["script-src 'self'", "connect-src 'self'", "form-action 'none'", "frame-ancestors 'none'"] {
        assert!(inbox.header("content-security-policy").contains(part), "{part}");
    }
    assert!(!inbox.text().contains("<script>") && !inbox.text().contains("style="), "nothing stands inline");
    for asset in ["/docs/rapidoc-min.js", "/openapi.yaml", "/console/inbox.js", "/console/style.css"] {
        assert_eq!(app.get(asset).await.status, 200, "{asset}");
    }
}

#[tokio::test]
async fn the_type_of_every_problem_leads_to_a_page_that_says_what_to_do() {
    let app = Setup::new().paused().start().await;
    for kind in mailwright::api::ProblemKind::ALL {
        let page = app.get(&format!("/problems/{}", kind.name())).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{}", kind.name());
        assert!(page.text().contains(kind.title()) && page.text().contains(kind.about()), "{}", kind.name());
    }
    assert_eq!(app.get("/problems/unheard-of").await.status, 404);
}

const TABS: [&str; 8] = ["html", "text", "source", "headers", "attachments", "events", "webhooks", "checks"];

/// Sends with the test key, waits until it is settled, and gives the id of the first recipient's copy.
async fn sent(app: &App, message: &Value) -> String {
    let answer = app.call_as(&app.test, "POST", "/v1/send", &[], message.to_string().into_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    app.settled(answer.json()["id"].as_str().unwrap()).await;
    answer.json()["recipients"][0]["id"].as_str().unwrap().to_owned()
}

fn address(app: &App, key: &str, rest: &str) -> String {
    format!("http://{}/console/inbox#key={key}{rest}", app.address)
}

fn rich() -> Value {
    json!({
        "from": "North Roast <orders@example.org>", "to": "Ada Lovelace <ada@example.net>", "reply_to": "help@example.org",
        "subject": "Your order has shipped", "text": "Plain words.", "tags": ["receipt"], "metadata": {"order": "1042"},
        "html": "<style>.a{display:flex}</style><p style=\"display:none\">At your door on Friday</p><p class=a>Rich words</p>\
            <a href=\"http://evil.example/x\">https://shop.example/orders</a><img src=\"cid:logo\">",
        "attachments": [
            {"filename": "bill.txt", "content": "aGVsbG8=", "content_type": "text/plain"},
            {"filename": "logo.png", "content": "iVBORw0KGgo=", "content_type": "image/png", "content_id": "logo"},
        ],
    })
}

/// An answer of each kind, as the list of webhook calls and the spam check give them.
fn answers(words: &str) -> Value {
    json!([
        {"path": "/v1/messages/[^/]+/webhooks$", "body": {"data": [{
            "id": "whd_1", "webhook_id": "whk_1", "url": format!("https://hooks.example/{words}"), "event_id": "evt_1",
            "event_type": "message.delivered", "status": "failed", "attempts": 1, "response_code": 500, "detail": words,
            "next_try_at": null, "settled_at": "2026-11-27T08:00:00Z",
            "tries": [{"at": "2026-11-27T08:00:00Z", "response_code": 500, "duration_ms": 12, "detail": words, "answer": words}],
        }]}},
        {"path": "/spam-check$", "method": "POST", "body": {
            "score": 5.1, "threshold": 5.0, "is_spam": true, "engine": "rspamd",
            "rules": [{"name": "MISSING_DATE", "score": 1.2, "description": words}],
        }},
    ])
}

#[tokio::test]
async fn the_tabs_of_a_message_show_what_they_must() {
    let app = Setup::new().start().await;
    let entry = sent(&app, &rich()).await;
    // What the message says of itself comes by a request of its own.
    let mut steps = vec![json!(["see", "#tabs"]), json!(["says", "#facts", "order: 1042"]), json!(["text", "#facts"])];
    for tab in TABS {
        steps.push(json!(["click", format!("#tab-{tab}")]));
        if ["events", "webhooks", "checks"].contains(&tab) {
            steps.push(json!(["see", format!("#panel-{tab} h3")]));
        }
        steps.push(json!(["text", format!("#panel-{tab}")]));
    }
    steps.push(json!(["address"]));
    let mut answers = answers("out of order");
    let over = json!({"path": "/v1/sandbox/messages/rcp_[^/]+$", "over": {"codes": ["493817"]}});
    answers.as_array_mut().unwrap().push(over);
    steps.extend([json!(["text", "#codes"]), json!(["click", "#panel-checks button.primary"])]);
    steps.extend([json!(["says", "#panel-checks", "MISSING_DATE"]), json!(["text", "#panel-checks [role=status]"])]);
    let url = address(&app, &app.test, &format!("&message={entry}"));
    let seen = browser::drive(&json!({"url": url, "steps": steps, "answers": answers}), false).await;
    let all = seen.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
    // In the order of the tabs; what is no tab's own comes first and last.
    let wanted = "North Roast <orders@example.org>|Ada Lovelace <ada@example.net>|help@example.org|receipt|order: 1042|\
        Plain words.|Content-Transfer-Encoding:|Message-ID|bill.txt|text/plain · 5 B|\
        message.queued|message.delivered|250 2.0.0|Attempt 1|https://hooks.example/out of order|HTTP 500|12 ms|\
        At your door on Friday|display: flex|Outlook (Windows)|name another domain|has no alt text|not encrypted|\
        493817|rspamd takes it for spam: 5.1, of 5 allowed|MISSING_DATE";
    for wanted in wanted.split('|') {
        assert!(all.contains(wanted), "{wanted:?} is not shown:\n{all}");
    }
    assert!(all.contains(&format!("#message={entry}&tab=checks")), "a tab has an address: {all}");
    assert!(!all.contains(&app.test), "the key does not stay in the address");
}

#[tokio::test]
async fn what_a_service_does_not_have_is_said_in_words() {
    let app = Setup::new().start().await;
    let entry = sent(&app, &rich()).await;
    let answers = json!([
        {"path": "/webhooks$", "status": 404, "body": {"title": "Not found", "status": 404}},
        {"path": "/spam-check$", "method": "POST", "status": 409, "body": {
            "type": "/problems/spam-check-not-configured", "title": "No spam filter is set up", "status": 409, "detail": "Set one up first.",
        }},
    ]);
    let steps = json!([
        ["see", "#tabs"],
        ["click", "#tab-webhooks"],
        ["says", "#panel-webhooks", "not available"],
        ["click", "#tab-checks"],
        ["click", "#panel-checks button.primary"],
        ["says", "#panel-checks", "No spam filter is set up"],
        ["says", "#panel-checks", "Set one up first."],
    ]);
    let url = address(&app, &app.test, &format!("&message={entry}"));
    browser::drive(&json!({"url": url, "steps": steps, "answers": answers}), false).await;
}

#[tokio::test]
async fn new_mail_appears_by_itself_and_the_keyboard_goes_through_it() {
    let app = Setup::new().start().await;
    for subject in ["First", "Second", "Third"] {
        sent(&app, &json!({"from": "a@example.org", "to": "b@example.net", "subject": subject, "text": "words"})).await;
    }
    let steps = json!([
        ["says", "#messages li:first-child", "Third"],
        ["press", "j"],
        ["says", "#subject", "Third"],
        ["press", "ArrowDown"],
        ["says", "#subject", "Second"],
        ["press", "k"],
        ["says", "#subject", "Third"],
        ["press", "6"],
        ["says", "#panel-events", "Attempt 1"],
        ["focus"],
        ["press", "Home"],
        ["focus"],
        ["press", "d"],
        ["says", "#subject", "Second"],
        ["press", "/"],
        ["focus"],
        ["type", "#filter", "first"],
        ["says", "#messages li:first-child", "First"],
        ["press", "Escape"],
        ["says", "#messages li:first-child", "Second"],
        ["count", "#messages li.unread"],
        ["press", "Escape"],
        ["press", "?"],
        ["see", "#help"],
        ["press", "Escape"],
        ["click", "#clear"],
        ["click", "#sure-yes"],
        ["see", "#empty"],
    ]);
    let seen = browser::drive(&json!({"url": address(&app, &app.test, ""), "steps": steps}), false).await;
    let seen: Vec<_> = seen.iter().filter(|value| !value.is_null()).collect();
    assert_eq!(seen, [&json!("tab-events"), &json!("tab-html"), &json!("filter"), &json!(1)]);
}

#[tokio::test]
async fn a_service_that_is_away_is_told_and_waited_for() {
    let app = Setup::new().paused().start().await;
    let steps = json!([
        ["see", "#state:not(.away)"],
        ["away", true],
        ["see", "#state.away"],
        ["text", "#notice"],
        ["away", false],
        ["see", "#state:not(.away)"],
        ["gone", "#notice:not([hidden])"],
    ]);
    let seen = browser::drive(&json!({"url": address(&app, &app.test, ""), "steps": steps}), false).await;
    assert_eq!(seen[3], "Cannot reach the service. Trying again.");
}

#[tokio::test]
async fn a_key_that_may_only_read_sees_everything_and_is_told_what_it_cannot_do() {
    let app = Setup::new().start().await;
    let key = create_key(&app.database.url, "shop", "test", "messages:read").await;
    let entry = sent(&app, &rich()).await;
    let steps = json!([
        ["see", "#tabs"],
        ["click", "#tab-events"],
        ["says", "#panel-events", "message.delivered"],
        ["press", "d"],
        ["see", "#read-only"],
        ["text", "#read-only"],
        ["label", "#delete", "disabled"],
        ["label", "#clear", "disabled"],
        ["text", "#subject"],
    ]);
    let seen =
        browser::drive(&json!({"url": address(&app, &key, &format!("&message={entry}")), "steps": steps}), false).await;
    assert!(seen[5].as_str().unwrap().contains("messages:write"), "{seen:?}");
    assert_eq!(seen[6..], [json!(""), json!(""), json!("Your order has shipped")]);
}

/// What mail has been seen to carry. Whatever becomes an element of the page bears one of these marks.
const PAYLOADS: [&str; 40] = [
    "<script data-pwned>window.pwned=1</script>",
    "<img src=x data-pwned onerror=window.pwned=1>",
    "\"><img src=x data-pwned onerror=window.pwned=1>",
    "'><img src=x data-pwned onerror=window.pwned=1>",
    "<svg data-pwned onload=window.pwned=1>",
    "<svg><script data-pwned>window.pwned=1</script></svg>",
    "<iframe data-pwned src=javascript:parent.pwned=1></iframe>",
    "<iframe data-pwned srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<body data-pwned onload=window.pwned=1>",
    "<details data-pwned open ontoggle=window.pwned=1>",
    "<input data-pwned autofocus onfocus=window.pwned=1>",
    "<video data-pwned><source onerror=window.pwned=1></video>",
    "<math data-pwned><mtext></mtext></math>",
    "<x-pwned>",
    "</title><script data-pwned>window.pwned=1</script>",
    "</textarea><script data-pwned>window.pwned=1</script>",
    "</pre><img data-pwned src=x onerror=window.pwned=1>",
    "</iframe><img data-pwned src=x onerror=window.pwned=1>",
    "--><img data-pwned src=x onerror=window.pwned=1>",
    "<!--<img data-pwned src=x>-->",
    "]]><img data-pwned src=x onerror=window.pwned=1>",
    "<base data-pwned href=http://evil.example/>",
    "<meta data-pwned http-equiv=refresh content=0;url=http://evil.example/>",
    "<link data-pwned rel=stylesheet href=http://evil.example/x.css>",
    "<style data-pwned>*{display:none}</style>",
    "<object data-pwned data=http://evil.example/></object>",
    "<embed data-pwned src=http://evil.example/>",
    "<form data-pwned action=http://evil.example/><input name=key></form>",
    "<a data-pwned href=javascript:window.pwned=1>x</a>",
    "javascript:window.pwned=1",
    "&lt;img data-pwned src=x onerror=window.pwned=1&gt;",
    "&#60;img data-pwned src=x onerror=window.pwned=1&#62;",
    "\\u003cimg data-pwned src=x onerror=window.pwned=1\\u003e",
    "%3Cimg%20data-pwned%20src=x%20onerror=window.pwned=1%3E",
    "{{constructor.constructor('window.pwned=1')()}}",
    "${window.pwned=1}",
    "__proto__",
    "<noscript><p title=\"</noscript><img data-pwned src=x onerror=window.pwned=1>\">",
    "<template data-pwned><img src=x></template>",
    "<dialog data-pwned open>Your key, please</dialog>",
];

#[tokio::test]
async fn nothing_of_hostile_mail_becomes_a_part_of_the_page() {
    let app = Setup::new().start().await;
    let mut batch = Vec::new();
    for payload in PAYLOADS {
        batch.push(json!({
            "from": {"email": "a@example.org", "name": payload}, "to": {"email": "b@example.net", "name": payload},
            "subject": payload, "text": payload, "html": payload, "headers": {"X-Evil": payload},
            "tags": [payload.chars().take(64).collect::<String>()], "metadata": {"evil": payload},
            "attachments": [{"filename": "evil.html", "content": "PGI+", "content_type": "text/html"}],
        }));
    }
    for message in &batch {
        sent(&app, message).await;
    }
    // What others answer is as little to be trusted as mail.
    let words = PAYLOADS[..3].join(" ");
    let reply = json!({"code": 550, "enhanced": "5.1.1", "text": words, "host": words, "class": words});
    let mut answers = answers(&words);
    let rows = json!({
        "email": words, "type": format!("message.{words}"), "reply": reply, "outcome": words, "stage": words, "host": words,
        "ip": words, "tls": words, "rule": words, "action": words, "transcript": words,
    });
    answers.as_array_mut().unwrap().extend([
        json!({"path": "/(events|attempts)$", "rows": rows}),
        json!({"path": "/v1/sandbox/messages/rcp_[^/]+$", "over": {"codes": [words], "links": ["javascript:window.pwned=1", words]}}),
    ]);
    let steps = json!([
        ["see", "#messages li"],
        ["intruders"],
        ["click", "#tab-webhooks"],
        ["says", "#panel-webhooks", "https://hooks.example/<script data-pwned>"],
        ["click", "#tab-events"],
        ["says", "#panel-events", "550 5.1.1 <script data-pwned>"],
        ["click", "#tab-checks"],
        ["click", "#panel-checks button.primary"],
        ["says", "#panel-checks", "MISSING_DATE"],
        ["count", "[data-pwned], x-pwned"],
    ]);
    let plan = json!({"url": address(&app, &app.test, ""), "steps": steps, "answers": answers});
    let seen = browser::drive(&plan, false).await;
    assert_eq!(seen[1], json!([]), "something of a mail is in the page");
    assert_eq!(seen.last().unwrap(), 0);
}

#[tokio::test]
async fn opening_a_mail_asks_nobody_for_anything_until_a_person_says_so() {
    let app = Setup::new().start().await;
    let outside = Receiver::start().await;
    let host = outside.address;
    let html = format!(
        "<link rel=stylesheet href=http://{host}/s.css><link rel=preconnect href=http://{host}><style>@import 'http://{host}/i.css';\
         @font-face{{font-family:F;src:url(http://{host}/f.woff)}}p{{font-family:F;background:url(http://{host}/b.png)}}</style>\
         <img src=http://{host}/a.png srcset='http://{host}/c.png 2x'><table background=http://{host}/d.png><tr><td>x</table>\
         <video poster=http://{host}/e.png src=http://{host}/v.mp4></video><iframe src=http://{host}/frame></iframe>\
         <div><template shadowrootmode=open><iframe src=http://{host}/t></iframe></template></div>\
         <object data=http://{host}/o></object><svg><image href=http://{host}/g.png /></svg><p>Words</p>\
         <meta http-equiv=refresh content='0;url=http://{host}/r'><script src=http://{host}/x.js></script>"
    );
    let message = json!({"from": "a@example.org", "to": "b@example.net", "subject": "Beacons", "html": html});
    let entry = sent(&app, &message).await;
    let url = address(&app, &app.test, &format!("&message={entry}"));
    let mut steps = vec![json!(["see", "#tabs"]), json!(["frame"]), json!(["text", "#remote"])];
    for tab in TABS {
        steps.push(json!(["click", format!("#tab-{tab}")]));
    }
    steps.extend([
        json!(["see", "#panel-checks h3"]),
        json!(["click", "#tab-html"]),
        json!(["choose", "#look", "dark"]),
    ]);
    steps.push(json!(["frame"]));
    let seen = browser::drive(&json!({"url": url, "steps": steps}), false).await;
    assert_eq!(outside.connections(), 0, "nobody is told that a mail was opened");
    assert!(seen[2].as_str().unwrap().contains(&format!("Remote content is blocked: 8 ({host})")), "{}", seen[2]);

    steps.extend([json!(["click", "#load-remote"]), json!(["frame"]), json!(["text", "#remote"])]);
    let seen = browser::drive(&json!({"url": url, "steps": steps}), true).await;
    assert!(outside.connections() > 0, "what a person asks for is loaded");
    assert!(seen.last().unwrap().as_str().unwrap().contains("Remote content is loaded"));
}

#[tokio::test]
async fn axe_finds_nothing_and_nothing_is_wider_than_the_window() {
    let app = Setup::new().start().await;
    let entry = sent(&app, &rich()).await;
    let url = address(&app, &app.test, &format!("&message={entry}"));
    for (width, height, language) in [(1366, 850, "en-US"), (390, 844, "zh-CN")] {
        for theme in ["light", "dark"] {
            let mut steps = vec![json!(["see", "#tabs"])];
            let mut wanted = vec![Value::Null];
            let mut look = |steps: &mut Vec<Value>| {
                steps.extend([json!(["axe"]), json!(["overflow"])]);
                wanted.extend([json!([]), json!({"by": 0, "out": []})]);
                if width == 390 {
                    steps.push(json!(["small"]));
                    wanted.push(json!([]));
                }
            };
            for tab in TABS {
                steps.push(json!(["click", format!("#tab-{tab}")]));
                if tab == "checks" || tab == "events" {
                    steps.push(json!(["see", format!("#panel-{tab} h3")]));
                }
                look(&mut steps);
            }
            steps.push(json!(["click", "#menu summary"]));
            look(&mut steps);
            steps.extend([json!(["press", "Escape"]), json!(["press", "?"])]);
            look(&mut steps);
            steps.extend([json!(["press", "Escape"]), json!(["press", "Escape"]), json!(["see", "#messages li"])]);
            look(&mut steps);
            let plan = json!({"url": url, "width": width, "height": height, "theme": theme, "language": language, "steps": steps});
            let seen: Vec<_> =
                browser::drive(&plan, false).await.into_iter().filter(|value| !value.is_null()).collect();
            wanted.retain(|value| !value.is_null());
            assert_eq!(seen, wanted, "{width} {theme} {language}");
        }
    }
}

#[tokio::test]
async fn the_page_speaks_chinese_to_those_who_wish_it() {
    let app = Setup::new().start().await;
    let entry = sent(&app, &rich()).await;
    let steps = json!([
        ["see", "#tabs"],
        ["click", "#tab-checks"],
        ["see", "#panel-checks h3"],
        ["text", "body"],
        ["label", "html", "lang"],
        ["label", "#tabs", "aria-label"],
        ["click", "#menu summary"],
        ["choose", "#language", "en"],
        ["wait", "html[lang=en]"],
        ["see", "#tabs"],
        ["text", "#tab-text"],
    ]);
    let url = address(&app, &app.test, &format!("&message={entry}"));
    let seen = browser::drive(&json!({"url": url, "language": "zh-CN", "steps": steps}), false).await;
    let text = seen[3].as_str().unwrap();
    for wanted in ["沙箱收件箱", "收件人", "附件（2）", "检查", "邮件客户端支持", "已送达"] {
        assert!(text.contains(wanted), "{wanted} is not on the page:\n{text}");
    }
    assert_eq!((&seen[4], &seen[5], &seen[10]), (&json!("zh-CN"), &json!("邮件的各部分"), &json!("Text")));
}

/// The words between single quotes that follow one another, with their escapes as written.
fn quoted(text: &str) -> Vec<&str> {
    text.split('\'').skip(1).step_by(2).collect()
}

/// The values that a sentence names: `{count}`.
fn values(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}

/// What stands behind each `before`, as far as `after`.
fn between<'t>(text: &'t str, before: &'static str, after: char) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split_once(after)).map(|(found, _)| found)
}

#[test]
fn both_languages_have_every_word_that_the_page_uses() {
    let words = include_str!("../../src/console/words.js");
    let table = words.split_once("const WORDS = {\n").unwrap().1.split_once("\n};").unwrap().0;
    // Entries of several lines are joined to one.
    let table = table.replace("[\n    ", "[").replace(",\n    ", ", ").replace(",\n  ],", "],");
    let mut keys = BTreeSet::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let (key, sentences) = line.split_once(": [").unwrap_or_else(|| panic!("{line}"));
        let sentences = quoted(sentences);
        assert!(keys.insert(key), "{key} is there twice");
        assert!(sentences.len() == 2 && sentences.iter().all(|words| !words.is_empty()), "{key}: {sentences:?}");
        assert_eq!(values(sentences[0]), values(sentences[1]), "{key}");
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console");
    let sources: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "js"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let html = std::fs::read_to_string(directory.join("inbox.html")).unwrap();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for source in &sources {
        used.extend(between(source, "(t('", '\'').chain(between(source, " t('", '\'')));
    }
    for before in ["data-word=\"", "data-label=\"", "data-placeholder=\"", "data-title=\""] {
        used.extend(between(&html, before, '"'));
    }
    let missing: Vec<_> = used.difference(&keys).collect();
    assert!(missing.is_empty() && used.len() > 100, "no words for {missing:?}");
}
