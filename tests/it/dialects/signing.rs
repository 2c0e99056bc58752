//! Keys that sign requests: kept, and sealed.

use serde_json::json;

use crate::support::app::{App, Setup};
use crate::support::process::{create_key, run};

const OTHER_KEY: &str = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";

/// What the store has of a key.
async fn sealed(app: &App, id: &str) -> Option<Vec<u8>> {
    let id = uuid::Uuid::parse_str(id.trim_start_matches("key_")).unwrap();
    sqlx::query_scalar("SELECT sealed FROM api_keys WHERE id = $1")
        .bind(id)
        .fetch_one(&app.database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_key_that_signs_is_kept_sealed_and_no_other_is_kept() {
    let app = App::start().await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let make = async |signs: bool| {
        let wanted = json!({"mode": "live", "scopes": ["send"], "signs": signs}).to_string().into_bytes();
        let made = app.call_as(&admin, "POST", "/v1/keys", &[], wanted).await;
        assert_eq!((made.status, &made.json()["signs"]), (201, &json!(signs)), "{}", made.text());
        made.json()
    };
    let (plain, signing) = (make(false).await, make(true).await);
    let id = |key: &serde_json::Value| key["id"].as_str().unwrap().to_owned();
    assert_eq!(sealed(&app, &id(&plain)).await, None);
    let kept = sealed(&app, &id(&signing)).await.unwrap();
    let text = signing["key"].as_str().unwrap();
    assert!(!kept.windows(8).any(|part| text.as_bytes().windows(8).any(|of_text| of_text == part)));
    // It is a key as others are, too, and what takes its place signs as well.
    let email =
        json!({"from": "a@example.org", "to": "b@example.net", "subject": "s", "text": "t"}).to_string().into_bytes();
    assert_eq!(app.call_as(text, "POST", "/v1/send", &[], email).await.status, 202);
    let path = format!("/v1/keys/{}/rotate", id(&signing));
    let rotated = app.call_as(&admin, "POST", &path, &[], b"{}".to_vec()).await;
    assert_eq!(rotated.json()["signs"], true, "{}", rotated.text());
    let listed = app.call_as(&admin, "GET", &format!("/v1/keys/{}", id(&rotated.json())), &[], Vec::new()).await.json();
    assert!(listed["signs"] == true && listed.get("key").is_none(), "{listed}");
    // What is revoked is not kept any longer.
    let path = format!("/v1/keys/{}", id(&signing));
    assert_eq!(app.call_as(&admin, "DELETE", &path, &[], Vec::new()).await.status, 204);
    assert_eq!(sealed(&app, &id(&signing)).await, None);
}

#[tokio::test]
async fn without_a_sealing_key_no_key_signs_and_by_another_none_is_believed() {
    let app = Setup::new().set("secrets.sealing_key", "").start().await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let wanted = json!({"mode": "live", "scopes": ["send"], "signs": true}).to_string().into_bytes();
    let refused = app.call_as(&admin, "POST", "/v1/keys", &[], wanted).await;
    assert_eq!(refused.faults(), [("/signs".to_owned(), "conflict".to_owned())]);
    let output = run(
        &app.database.url,
        &["keys", "create", "--project", "shop", "--mode", "live", "--signs", "--set", "secrets.sealing_key="],
    )
    .await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("secrets.sealing_key"), "{output:?}");
    // A key whose seal cannot be opened is neither right nor wrong.
    let setup = Setup::new().set("compat.dialects", "ses").set("secrets.sealing_key", OTHER_KEY);
    let first = Setup::new().start().await;
    let other = setup.on(&first.database).start().await;
    let (id, _) = super::signing_key(&first, "admin").await;
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={id}/20261128/eu/ses/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
    );
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let answer = other.client().request("POST", "/v2/email/outbound-emails", &headers, b"{}".to_vec()).await.unwrap();
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (503, "ServiceUnavailable"), "{}", answer.text());
}
