//! The inbox page, in a real browser.

use serde_json::json;

use crate::support::app::{App, Setup};
use crate::support::browser;

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
