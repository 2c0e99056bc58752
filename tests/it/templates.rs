//! Templates: made, changed, reviewed, rendered, found by sends, and kept in files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mailwright::domain::access::Mode;
use mailwright::domain::fault::FaultCode;
use mailwright::domain::id::ProjectId;
use mailwright::domain::template::{Locale, TemplateRef};
use mailwright::submit::templates::{TemplateError, Templates};
use serde_json::{Value, json};

use crate::support::app::{App, Setup};
use crate::support::http::Answer;
use crate::support::process::{create_key, run};
use crate::support::proxy::{Proxy, Weather};

fn welcome() -> Value {
    json!({"alias": "welcome", "name": "Welcome", "locales": {
        "en": {"subject": "Welcome, {{ name }}", "text": "Hello {{ name }}.", "html": "<p>Hello {{ name }}.</p>"},
        "zh-Hans": {"subject": "欢迎，{{ name }}", "text": "{{ name }}，您好！"},
    }, "samples": {"name": "Ada"}})
}

async fn app() -> App {
    Setup::new().paused().start().await
}

async fn create(app: &App, body: &Value) -> Value {
    let answer = app.post("/v1/templates", body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

async fn patch(app: &App, alias: &str, body: Value) -> Answer {
    app.call_as(&app.live, "PATCH", &format!("/v1/templates/{alias}"), &[], body.to_string().into_bytes()).await
}

async fn post(app: &App, path: &str, body: Value) -> Answer {
    app.post(&format!("/v1/templates/{path}"), &body).await
}

async fn get(app: &App, path: &str) -> Value {
    let slash = if path.starts_with('?') { "" } else { "/" };
    let answer = app.get(&format!("/v1/templates{slash}{path}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Pointer and code of every fault.
fn faults(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 422, "{}", answer.text());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    errors.iter().map(|fault| (text(&fault["pointer"]), text(&fault["code"]))).collect()
}

fn fault(pointer: &str, code: FaultCode) -> (String, String) {
    (pointer.to_owned(), code.name().to_owned())
}

#[tokio::test]
async fn a_template_goes_from_a_draft_to_a_published_version_and_on_to_the_next_draft() {
    let app = app().await;
    let made = create(&app, &welcome()).await;
    assert_eq!(
        (&made["latest_version"], &made["published_version"], &made["draft_version"]),
        (&json!(1), &json!(null), &json!(1))
    );
    let by_id = get(&app, made["id"].as_str().unwrap()).await;
    assert_eq!(by_id, get(&app, "welcome").await, "by id and by alias it is the same");
    let published = post(&app, "welcome/publish", json!({})).await.json();
    assert_eq!((&published["version"], &published["state"]), (&json!(1), &json!("approved")));

    let same = patch(&app, "welcome", json!({"locales": welcome()["locales"]})).await.json();
    assert_eq!(same["latest_version"], 1, "what did not change is no version");
    let changed =
        patch(&app, "welcome", json!({"locales": {"en": {"subject": "Hi {{ name }}", "text": "Hello {{ name }}."}}}));
    let changed = changed.await.json();
    assert_eq!((&changed["latest_version"], &changed["published_version"]), (&json!(2), &json!(1)));
    let version = get(&app, "welcome/versions/2").await;
    assert_eq!(version["locales"]["zh-Hans"]["subject"], "欢迎，{{ name }}", "a locale that was not given stays");
    assert_eq!(version["samples"], json!({"name": "Ada"}));
    let rendered = post(&app, "welcome/render", json!({})).await.json();
    assert_eq!((&rendered["version"], &rendered["subject"]), (&json!(1), &json!("Welcome, Ada")), "the published one");
    let rendered = post(&app, "welcome/render", json!({"version": "draft", "variables": {"name": "Bo"}})).await.json();
    assert_eq!(
        (&rendered["version"], &rendered["subject"], &rendered["html"]),
        (&json!(2), &json!("Hi Bo"), &json!(null))
    );

    let diff = get(&app, "welcome/diff").await;
    let parts: Vec<_> = diff["parts"].as_array().unwrap().iter().map(|p| (&p["locale"], &p["part"])).collect();
    assert_eq!(parts, [(&json!("en"), &json!("subject")), (&json!("en"), &json!("html"))]);
    assert!(diff["parts"][0]["diff"].as_str().unwrap().contains("-Welcome, {{ name }}\n"), "{diff}");
    post(&app, "welcome/publish", json!({})).await;
    assert_eq!(post(&app, "welcome/publish", json!({"version": 1})).await.status, 200, "the way back");
    assert_eq!(get(&app, "welcome").await["published_version"], 1);
    let audit = get(&app, "welcome/audit").await;
    let steps: Vec<_> = audit["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["action"].as_str().unwrap(), s["version"].as_i64()))
        .collect();
    let told = [("published", 1), ("published", 2), ("changed", 2), ("published", 1), ("created", 1)];
    assert_eq!(steps, told.map(|(action, version)| (action, Some(version))));
    assert!(audit["data"].as_array().unwrap().iter().all(|step| step["actor"].as_str().unwrap().starts_with("key_")));
}

#[tokio::test]
async fn the_list_comes_in_pages_newest_first() {
    let app = app().await;
    for name in ["one", "two", "three"] {
        create(&app, &json!({"alias": name, "locales": {"en": {"text": "x"}}})).await;
    }
    let page = get(&app, "?limit=2").await;
    let aliases =
        |page: &Value| page["data"].as_array().unwrap().iter().map(|t| t["alias"].clone()).collect::<Vec<_>>();
    assert_eq!(aliases(&page), ["three", "two"]);
    let rest = get(&app, &format!("?limit=2&cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!((aliases(&rest), &rest["next_cursor"]), (vec![json!("one")], &json!(null)));
    for text in ["a", "b", "c"] {
        patch(&app, "one", json!({"locales": {"en": {"text": text}}})).await;
    }
    let versions = get(&app, "one/versions?limit=3").await;
    let numbers: Vec<_> = versions["data"].as_array().unwrap().iter().map(|v| v["version"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [4, 3, 2]);
    assert_eq!(get(&app, "one/versions?cursor=2").await["data"][0]["version"], 1);
}

#[tokio::test]
async fn every_missing_variable_is_told_at_once_when_a_template_is_rendered() {
    let app = app().await;
    let text = "{{ order.id }} {{ total }}{% for item in items %}{{ item.name }}{% endfor %}{{ note|default('') }}";
    create(&app, &json!({"alias": "receipt", "locales": {"en": {"subject": "{{ shop }}", "text": text}}})).await;
    let variables = json!({"order": {}, "items": [{"name": "a"}, {}]});
    let answer = post(&app, "receipt/render", json!({ "variables": variables })).await;
    let mut told = faults(&answer);
    told.sort();
    let names = ["/variables/items/1/name", "/variables/order/id", "/variables/shop", "/variables/total"];
    assert_eq!(told, names.map(|name| fault(name, FaultCode::MissingVariable)));
    let whole = json!({"order": {"id": 1}, "items": [], "total": 2, "shop": "S", "colour": "red"});
    let rendered = post(&app, "receipt/render", json!({ "variables": whole })).await.json();
    assert_eq!(rendered["warnings"], json!(["the variable 'colour' is not used"]));
}

#[tokio::test]
async fn what_is_wrong_with_a_template_is_told_when_it_is_saved() {
    let app = app().await;
    let answer = app.post("/v1/templates", &json!({
        "alias": "../etc", "kind": "page", "nmae": "x", "default_locale": "english!",
        "locales": {
            "en": {"subject": "{{ name", "text": "a\n{% if %}", "html": "a", "mjml": "<mjml/>", "body": "b"},
            "zh_Hans": {"mjml": "<p>no</p>"}, "zh-hans": {"text": "twice"}, "1": {"text": "no language"}, "de": "text",
        },
    })).await;
    let mut told = faults(&answer);
    told.sort();
    let mut expected = vec![
        fault("/alias", FaultCode::InvalidAlias),
        fault("/default_locale", FaultCode::InvalidLocale),
        fault("/kind", FaultCode::InvalidTemplate),
        fault("/nmae", FaultCode::UnknownField),
        fault("/locales/1", FaultCode::InvalidLocale),
        fault("/locales/de", FaultCode::WrongType),
        fault("/locales/en/body", FaultCode::UnknownField),
        fault("/locales/en/mjml", FaultCode::Conflict),
        fault("/locales/en/subject", FaultCode::InvalidTemplate),
        fault("/locales/en/text", FaultCode::InvalidTemplate),
        fault("/locales/zh_Hans", FaultCode::Conflict),
        fault("/locales/zh_Hans/mjml", FaultCode::InvalidTemplate),
    ];
    expected.sort();
    assert_eq!(told, expected);
    assert!(answer.text().contains("line 2"), "{}", answer.text());
    let nothing = app.post("/v1/templates", &json!({})).await;
    assert_eq!(faults(&nothing), [fault("/alias", FaultCode::Required), fault("/locales", FaultCode::Required)]);
    let empty = app.post("/v1/templates", &json!({"alias": "a", "locales": {"en": {"subject": "s"}}})).await;
    assert_eq!(faults(&empty), [fault("/locales/en", FaultCode::Required)]);
    let other = app
        .post("/v1/templates", &json!({"alias": "a", "default_locale": "de", "locales": {"en": {"text": "s"}}}))
        .await;
    assert_eq!(faults(&other), [fault("/locales", FaultCode::Required)]);
    create(&app, &welcome()).await;
    assert_eq!(faults(&app.post("/v1/templates", &welcome()).await), [fault("/alias", FaultCode::Conflict)]);
    let nul = patch(&app, "welcome", json!({"samples": {"a": "\u{0}"}, "locales": {"en": {"text": "\u{0}"}}})).await;
    assert_eq!(faults(&nul).len(), 2, "a NUL cannot be stored");
}

#[tokio::test]
async fn mjml_is_kept_as_it_was_written_and_rendered_as_html() {
    let app = app().await;
    let mjml = "<mjml><mj-body><mj-section><mj-column><mj-text>Hi {{ name }}</mj-text></mj-column></mj-section></mj-body></mjml>";
    create(&app, &json!({"alias": "card", "locales": {"en": {"subject": "s", "mjml": mjml}}})).await;
    let version = get(&app, "card/versions/1").await;
    assert_eq!(version["locales"]["en"]["mjml"], mjml);
    let rendered = post(&app, "card/render", json!({"variables": {"name": "<A>"}})).await.json();
    let html = rendered["html"].as_str().unwrap();
    assert!(html.contains("Hi &lt;A&gt;") && !html.contains("<mj-"), "{html}");
    assert_eq!(rendered["warnings"], json!(["there is no text: it will be made of the HTML"]));
    let again = patch(&app, "card", json!({"locales": {"en": {"subject": "s", "mjml": mjml}}})).await.json();
    assert_eq!(again["latest_version"], 1);
}

#[tokio::test]
async fn a_reader_gets_the_closest_locale_and_else_the_default() {
    let app = app().await;
    create(&app, &welcome()).await;
    for (asked, served) in [
        ("zh-Hans-CN", "zh-Hans"),
        ("zh_CN", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("en-GB", "en"),
        ("fr", "en"),
        ("zh-TW", "en"),
    ] {
        let rendered = post(&app, "welcome/render", json!({ "locale": asked })).await.json();
        assert_eq!(rendered["locale"], served, "{asked}");
    }
    assert_eq!(
        faults(&post(&app, "welcome/render", json!({"locale": "?"})).await),
        [fault("/locale", FaultCode::InvalidLocale)]
    );
    assert_eq!(post(&app, "welcome/render", json!({"version": 1.0})).await.json()["version"], 1);
    let versions = [json!(7), json!(1.5), json!("published"), json!("newest"), json!(0)];
    for version in versions {
        let answer = post(&app, "welcome/render", json!({ "version": version })).await;
        assert_eq!(faults(&answer), [fault("/version", FaultCode::UnknownVersion)], "{version}");
    }
}

#[tokio::test]
async fn a_layout_must_be_published_first_and_stays_while_it_is_used() {
    let app = app().await;
    let page = "{% extends 'base' %}{% block body %}Hi{% endblock %}";
    create(&app, &json!({"alias": "page", "locales": {"en": {"subject": "s", "html": page}}})).await;
    assert_eq!(faults(&post(&app, "page/publish", json!({})).await), [fault("", FaultCode::UnknownTemplate)]);
    let base = json!({"alias": "base", "kind": "layout", "locales": {"en": {"html": "<main>{% block body %}{% endblock %}</main>"}}});
    create(&app, &base).await;
    assert_eq!(
        post(&app, "page/render", json!({})).await.json()["html"],
        "<main>Hi</main>",
        "a draft of it serves drafts"
    );
    assert_eq!(post(&app, "page/publish", json!({})).await.status, 422);
    assert_eq!(post(&app, "base/publish", json!({})).await.status, 200);
    assert_eq!(post(&app, "page/publish", json!({})).await.status, 200);
    let remove =
        async |alias: &str| app.call_as(&app.live, "DELETE", &format!("/v1/templates/{alias}"), &[], vec![]).await;
    assert_eq!(faults(&remove("base").await), [fault("", FaultCode::Conflict)]);
    assert_eq!(faults(&patch(&app, "base", json!({"alias": "other"})).await), [fault("/alias", FaultCode::Conflict)]);
    assert_eq!(remove("page").await.status, 204);
    assert_eq!(remove("base").await.status, 204);
    assert_eq!(remove("base").await.status, 404);
}

#[tokio::test]
async fn a_project_that_asks_for_reviews_sends_only_what_an_admin_approved() {
    let app = app().await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let as_admin = async |method: &str, path: &str, body: Value| {
        app.call_as(&admin, method, &format!("/v1/templates/{path}"), &[], body.to_string().into_bytes()).await
    };
    assert_eq!(
        app.call_as(&app.live, "PATCH", "/v1/templates/settings", &[], b"{\"review_required\":true}".into())
            .await
            .status,
        403
    );
    assert_eq!(get(&app, "settings").await["review_required"], false);
    assert_eq!(as_admin("PATCH", "settings", json!({"review_required": true})).await.json()["review_required"], true);
    create(&app, &welcome()).await;
    let early = as_admin("POST", "welcome/review", json!({"decision": "approve"})).await;
    assert_eq!(faults(&early), [fault("/version", FaultCode::Conflict)], "nothing was submitted");
    assert_eq!(post(&app, "welcome/publish", json!({})).await.json()["state"], "submitted");
    assert_eq!(get(&app, "welcome").await["published_version"], json!(null));
    assert_eq!(
        post(&app, "welcome/review", json!({"decision": "approve"})).await.status,
        403,
        "not by its author's key"
    );
    let silent = as_admin("POST", "welcome/review", json!({"decision": "refuse"})).await;
    assert_eq!(faults(&silent), [fault("/reason", FaultCode::Required)]);
    let refused = as_admin("POST", "welcome/review", json!({"decision": "refuse", "reason": "No sign-off."})).await;
    assert_eq!(refused.json()["state"], "refused");
    let version = get(&app, "welcome/versions/1").await;
    assert_eq!((&version["state"], &version["reason"]), (&json!("refused"), &json!("No sign-off.")));
    assert_eq!(get(&app, "welcome").await["published_version"], json!(null));
    patch(&app, "welcome", json!({"locales": {"en": {"subject": "Hi", "text": "Yours, Shop"}}})).await;
    assert_eq!(post(&app, "welcome/publish", json!({})).await.json()["state"], "submitted");
    assert_eq!(as_admin("POST", "welcome/review", json!({"decision": "approve"})).await.json()["state"], "approved");
    assert_eq!(get(&app, "welcome").await["published_version"], 2);
    assert_eq!(as_admin("POST", "welcome/review", json!({"decision": "approve"})).await.status, 422, "it is decided");
    assert_eq!(post(&app, "welcome/publish", json!({})).await.json()["state"], "approved", "it needs no second review");
    let audit = get(&app, "welcome/audit").await;
    let steps: Vec<_> = audit["data"].as_array().unwrap().iter().map(|s| s["action"].as_str().unwrap()).collect();
    assert_eq!(steps, ["published", "approved", "submitted", "changed", "refused", "submitted", "created"]);
    assert_eq!(audit["data"][4]["reason"], "No sign-off.");
    assert_ne!(audit["data"][4]["actor"], audit["data"][5]["actor"], "the audit says who");
}

#[tokio::test]
async fn templates_of_others_and_of_the_other_mode_are_absent() {
    let app = app().await;
    let made = create(&app, &welcome()).await;
    let id = made["id"].as_str().unwrap();
    let neighbour = create_key(&app.database.url, "neighbour", "live", "admin").await;
    let reads = ["", "/versions", "/versions/1", "/diff", "/audit"].map(|tail| ("GET", tail));
    let writes = [("PATCH", ""), ("DELETE", ""), ("POST", "/publish"), ("POST", "/render")];
    let review = ("POST", "/review");
    for name in [id, "welcome", "tpl_x", "%00", "Welcome"] {
        for (method, tail) in reads.iter().chain(&writes).chain([&review]) {
            let body = if *tail == "/review" { "{\"decision\":\"approve\"}" } else { "{}" };
            let body = if *method == "GET" { Vec::new() } else { body.into() };
            let answer = app.call_as(&neighbour, method, &format!("/v1/templates/{name}{tail}"), &[], body).await;
            assert_eq!(answer.status, 404, "{method} {name}{tail}: {}", answer.text());
        }
    }
    assert_eq!(app.get_as(&neighbour, "/v1/templates").await.json()["data"], json!([]));
    for (method, tail) in reads.iter().chain(&writes) {
        let body = if *method == "GET" { Vec::new() } else { b"{}".to_vec() };
        let answer = app.call_as(&app.test, method, &format!("/v1/templates/{id}{tail}"), &[], body).await;
        assert_eq!(answer.status, 404, "{method} {tail}");
    }
    let body = welcome().to_string().into_bytes();
    let own = app.call_as(&app.test, "POST", "/v1/templates", &[], body).await.json();
    assert_eq!((&own["mode"], &made["mode"]), (&json!("test"), &json!("live")), "the alias is free in the other mode");
    assert_eq!(get(&app, "welcome").await["id"], made["id"]);
    assert_eq!(app.get_as(&app.test, "/v1/templates/welcome").await.json()["id"], own["id"]);
    let admin = create_key(&app.database.url, "shop", "test", "admin").await;
    let asked = app.call_as(&admin, "PATCH", "/v1/templates/settings", &[], b"{\"review_required\":true}".into()).await;
    assert_eq!(asked.json()["review_required"], true);
    assert_eq!(get(&app, "settings").await["review_required"], false, "live mail is as it was");
    assert_eq!(post(&app, "welcome/publish", json!({})).await.json()["state"], "approved");
    let other = create(&app, &json!({"alias": "other", "locales": {"en": {"text": "x"}}})).await;
    assert_eq!(
        faults(&patch(&app, "other", json!({"alias": "welcome"})).await),
        [fault("/alias", FaultCode::Conflict)]
    );
    let renamed = patch(&app, "other", json!({"alias": "third", "name": "Third"})).await.json();
    assert_eq!((&renamed["id"], &renamed["alias"], &renamed["name"]), (&other["id"], &json!("third"), &json!("Third")));
    assert_eq!(get(&app, "third").await["name"], "Third");
}

#[tokio::test]
async fn a_copy_of_every_starter_is_rendered_in_every_locale() {
    let app = app().await;
    let starters = get(&app, "starters").await["data"].as_array().unwrap().clone();
    assert_eq!(starters.len(), 6);
    for starter in starters {
        let name = starter["name"].as_str().unwrap();
        let made = create(&app, &json!({ "starter": name })).await;
        assert_eq!((&made["alias"], &made["name"]), (&starter["name"], &starter["title"]));
        for locale in starter["locales"].as_array().unwrap() {
            let rendered = post(&app, &format!("{name}/render"), json!({ "locale": locale })).await.json();
            assert_eq!((&rendered["locale"], &rendered["warnings"]), (locale, &json!([])), "{name}");
            for missing in starter["samples"].as_object().unwrap().keys() {
                let mut variables = starter["samples"].clone();
                variables.as_object_mut().unwrap().remove(missing);
                let answer =
                    post(&app, &format!("{name}/render"), json!({"locale": locale, "variables": variables})).await;
                assert_eq!(faults(&answer), [fault(&format!("/variables/{missing}"), FaultCode::MissingVariable)]);
            }
        }
    }
    let unknown = app.post("/v1/templates", &json!({"starter": "reciept"})).await;
    assert_eq!(faults(&unknown), [fault("/starter", FaultCode::UnknownTemplate)]);
    assert!(unknown.text().contains("did you mean 'receipt'?"), "{}", unknown.text());
}

#[tokio::test]
async fn a_limit_of_templates_is_kept() {
    let app = Setup::new().paused().set("limits.templates", 1).start().await;
    assert_eq!(app.get("/v1/limits").await.json()["templates"], 1);
    create(&app, &welcome()).await;
    assert_eq!(faults(&app.post("/v1/templates", &json!({"starter": "alert"})).await), [fault("", FaultCode::TooMany)]);
}

async fn project(app: &App) -> ProjectId {
    let row: (uuid::Uuid,) =
        sqlx::query_as("SELECT id FROM projects WHERE name = 'shop'").fetch_one(&app.database.pool).await.unwrap();
    ProjectId::from_uuid(row.0)
}

fn wanted(alias: &str, version: Option<i32>, locale: Option<&str>) -> TemplateRef {
    let locale = locale.map(|locale| Locale::parse(locale).unwrap());
    TemplateRef { name: TemplateRef::alias(alias).unwrap(), version, locale }
}

/// The code of the flaw that keeps a template from being sent.
fn refusal(error: TemplateError) -> FaultCode {
    let faults = error.faults("/template").unwrap();
    assert_eq!(faults[0].pointer, "/template");
    faults[0].code
}

#[tokio::test]
async fn a_send_finds_the_published_version_in_the_closest_locale() {
    let app = app().await;
    let project = project(&app).await;
    let templates = Templates::new(crate::support::database::store(&app.database.url), Duration::from_mins(1));
    let find = async |mode, wanted: TemplateRef| templates.find(project, mode, &wanted).await;
    create(&app, &welcome()).await;
    let plain = || wanted("welcome", None, Some("zh-CN"));
    assert_eq!(
        refusal(find(Mode::Live, plain()).await.unwrap_err()),
        FaultCode::UnknownVersion,
        "it was never published"
    );
    post(&app, "welcome/publish", json!({})).await;
    let found = find(Mode::Live, plain()).await.unwrap();
    assert_eq!((found.version, found.locale.as_str()), (1, "zh-Hans"));
    let variables = json!({"name": "Ada"}).as_object().unwrap().clone();
    assert_eq!(found.template.render(&variables).unwrap().subject.unwrap(), "欢迎，Ada");
    assert_eq!(templates.render(&found.template, variables).await.unwrap().unwrap().text.unwrap(), "Ada，您好！");
    let missing = found.template.render(&serde_json::Map::new()).unwrap_err();
    assert_eq!(missing[0].clone().at("/template").pointer, "/template/variables/name");

    patch(&app, "welcome", json!({"default_locale": "zh-Hans", "locales": {"en": null}})).await;
    let draft = wanted("welcome", Some(2), None);
    assert_eq!(
        refusal(find(Mode::Live, draft.clone()).await.unwrap_err()),
        FaultCode::UnknownVersion,
        "a draft is not sent"
    );
    assert_eq!(refusal(find(Mode::Test, draft).await.unwrap_err()), FaultCode::UnknownTemplate, "of the other mode");
    let body = json!({"alias": "trial", "locales": {"en": {"text": "x"}}}).to_string().into_bytes();
    app.call_as(&app.test, "POST", "/v1/templates", &[], body).await;
    assert_eq!(find(Mode::Test, wanted("trial", Some(1), None)).await.unwrap().version, 1, "but tried");
    post(&app, "welcome/publish", json!({})).await;
    assert_eq!(find(Mode::Live, plain()).await.unwrap().version, 1, "it is remembered");
    templates.forget(project);
    assert_eq!(find(Mode::Live, plain()).await.unwrap().version, 2);
    assert_eq!(
        find(Mode::Live, wanted("welcome", Some(1), None)).await.unwrap().version,
        1,
        "what was published once may be sent"
    );

    for (alias, version, code) in
        [("nothing", None, FaultCode::UnknownTemplate), ("welcome", Some(9), FaultCode::UnknownVersion)]
    {
        assert_eq!(refusal(find(Mode::Live, wanted(alias, version, None)).await.unwrap_err()), code);
    }
    create(&app, &json!({"alias": "base", "kind": "layout", "locales": {"en": {"html": "x"}}})).await;
    post(&app, "base/publish", json!({})).await;
    assert_eq!(refusal(find(Mode::Live, wanted("base", None, None)).await.unwrap_err()), FaultCode::UnknownTemplate);
    app.call_as(&app.live, "DELETE", "/v1/templates/welcome", &[], vec![]).await;
    templates.forget(project);
    assert_eq!(refusal(find(Mode::Live, plain()).await.unwrap_err()), FaultCode::UnknownTemplate, "it is deleted");
}

#[tokio::test]
async fn a_store_that_is_away_is_never_no_such_template() {
    let app = app().await;
    create(&app, &welcome()).await;
    post(&app, "welcome/publish", json!({})).await;
    let project = project(&app).await;
    let proxy = Proxy::start(&app.database.url).await;
    let templates = Templates::new(crate::support::database::store(&proxy.url), Duration::from_mins(1));
    proxy.set(Weather::Cut);
    let away = templates.find(project, Mode::Live, &wanted("welcome", None, None)).await.unwrap_err();
    assert!(matches!(away, TemplateError::Store(_)), "{away}");
    proxy.set(Weather::Fair);
    assert!(templates.find(project, Mode::Live, &wanted("welcome", None, None)).await.is_ok(), "and it is asked again");
}

/// A directory that nobody else has.
fn directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("mailwright-templates-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Every file below a directory.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
        } else {
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

async fn command(app: &App, arguments: &[&str], directory: &Path) -> Output {
    let (url, directory) = (format!("http://{}", app.address), directory.display().to_string());
    let all: Vec<_> = ["templates"].iter().chain(arguments).copied().collect();
    let all = [&all[..], &["--dir", &directory, "--url", &url, "--key", &app.live]].concat();
    run(&app.database.url, &all).await
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn what_is_pushed_and_pulled_leaves_the_files_as_they_are() {
    let app = app().await;
    let here = directory();
    let mjml = "<mjml><mj-body><mj-raw>{{ name }}</mj-raw></mj-body></mjml>\n";
    write(
        &here,
        &[
            ("welcome/template.toml", "# The first mail.\ndefault_locale = 'en'\nname    = \"Welcome\"\n"),
            ("welcome/samples.json", "{\"name\":   \"Ada\", \"n\": 1.0}\n"),
            ("welcome/en/subject.txt", "Welcome, {{ name }}\r\n"),
            ("welcome/en/text.txt", "{% include 'sign' %}\n\n"),
            ("welcome/en/html.mjml", mjml),
            ("welcome/zh-Hans/subject.txt", "欢迎，{{ name }}"),
            ("welcome/zh-Hans/html.html", "<p>{{ name }}</p>"),
            ("sign/template.toml", "name = 'Sign'\nkind = 'partial'\ndefault_locale = 'en'\n"),
            ("sign/en/text.txt", "Yours, {{ name }}\n"),
            ("notes.md", "not a template"),
        ],
    );
    let before = files(&here);
    let told = said(&command(&app, &["push", "--publish"], &here).await);
    assert_eq!(told, "sign: created, version 1, published\nwelcome: created, version 1, published\n");
    let told = said(&command(&app, &["push", "--publish"], &here).await);
    assert_eq!(told, "sign: unchanged, version 1\nwelcome: unchanged, version 1\n", "again makes no version");
    let told = said(&command(&app, &["pull"], &here).await);
    assert_eq!(told, "sign: unchanged, version 1\nwelcome: unchanged, version 1\n");
    assert_eq!(files(&here), before);
    let rendered = post(&app, "welcome/render", json!({})).await.json();
    assert_eq!((&rendered["subject"], &rendered["text"]), (&json!("Welcome, Ada"), &json!("Yours, Ada\n")));

    let there = directory();
    said(&command(&app, &["pull"], &there).await);
    let pulled = files(&there);
    for (name, text) in before.iter().filter(|(name, _)| name.matches('/').count() == 2) {
        assert_eq!(pulled.get(name), Some(text), "{name}");
    }
    let told = said(&command(&app, &["push"], &there).await);
    assert_eq!(
        told, "sign: unchanged, version 1\nwelcome: unchanged, version 1\n",
        "what was pulled is what was pushed"
    );
}

#[tokio::test]
async fn a_push_changes_what_changed_and_a_pull_brings_what_others_changed() {
    let app = app().await;
    let here = directory();
    create(&app, &welcome()).await;
    create(&app, &json!({"starter": "receipt"})).await;
    said(&command(&app, &["pull"], &here).await);
    std::fs::remove_dir_all(here.join("receipt")).unwrap();
    write(&here, &[("welcome/en/subject.txt", "Hi {{ name }}\n"), ("welcome/de/text.txt", "Hallo {{ name }}\n")]);
    std::fs::remove_dir_all(here.join("welcome/zh-Hans")).unwrap();
    let output = command(&app, &["push", "--description", "German"], &here).await;
    assert_eq!(said(&output), "welcome: changed, version 2\n");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("receipt: is on the service"),
        "nothing is deleted unasked"
    );
    let version = get(&app, "welcome/versions/draft").await;
    let locales: Vec<_> = version["locales"].as_object().unwrap().keys().cloned().collect();
    assert_eq!((locales, &version["description"]), (vec!["de".to_owned(), "en".to_owned()], &json!("German")));

    patch(&app, "welcome", json!({"locales": {"de": null, "en": {"text": "Short"}}})).await;
    assert!(said(&command(&app, &["pull"], &here).await).contains("welcome: written, version 3"));
    let names: Vec<_> = files(&here.join("welcome")).into_keys().collect();
    assert_eq!(names, ["en/text.txt", "samples.json", "template.toml"], "parts and locales that are gone are removed");

    write(&here, &[("welcome/en/text.txt", "{{ broken\n")]);
    let output = command(&app, &["push"], &here).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("/locales/en/text") && error.contains("welcome"), "{error}");
    write(&here, &[("welcome/EN/text.txt", "x")]);
    let output = command(&app, &["push"], &here).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("is spelt en"), "{output:?}");
    let output = command(&app, &["push"], &directory()).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("template.toml"), "{output:?}");
}
