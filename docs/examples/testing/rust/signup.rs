//! A sign-up by mail, tested: mailwright dev --ephemeral -- cargo test -- --ignored
//!
//! Needs the client of `clients/rust`, `serde`, `serde_json` and tokio. The tests are ignored where there is no service.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use mailwright_client::{Client, Email, Error, Message, Method, Page, RecipientStatus};
use serde::Deserialize;

/// What is used of a mail in the test inbox.
#[derive(Debug, Deserialize)]
struct Mail {
    text: String,
    codes: Vec<String>,
}

#[derive(Deserialize)]
struct Found {
    id: String,
}

fn service() -> Client {
    let variable = |name| std::env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    Client::new(&variable("MAILWRIGHT_URL"), &variable("MAILWRIGHT_KEY")).unwrap()
}

/// Waits for the newest mail to an address.
async fn wait_for_mail(client: &Client, to: &str) -> Result<Mail, Error> {
    // In a query a plus is a space.
    let path = format!("/v1/sandbox/messages?to={}&wait=10s&limit=1", to.replace('+', "%2B"));
    let found: Page<Found> = client.call(Method::GET, &path, None).await?;
    let mail = found.data.first().unwrap_or_else(|| panic!("no mail to {to} within 10 seconds"));
    client.call(Method::GET, &format!("/v1/sandbox/messages/{}", mail.id), None).await
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Stands for your application: sends a code, and gives it, and the message's id.
async fn sign_up(client: &Client, address: &str) -> Result<(String, String), Error> {
    let code = format!("{:06}", random() % 1_000_000);
    let email = Email::new("Example Shop <shop@example.com>", address, "Your code")
        .text(format!("Your code is {code}. It is good for ten minutes."));
    let accepted = client.send(&email).await?;
    Ok((code, accepted.id))
}

#[tokio::test]
#[ignore = "needs a service: mailwright dev --ephemeral -- cargo test -- --ignored"]
async fn the_code_of_the_mail_confirms_the_address() {
    let client = service();
    // An address for each test: tests can run side by side, and nobody has to empty the inbox.
    let address = format!("ada+{:x}@example.test", random());
    let (code, _) = sign_up(&client, &address).await.unwrap();
    let mail = wait_for_mail(&client, &address).await.unwrap();
    assert!(mail.text.contains("ten minutes"));
    assert_eq!(mail.codes, [code]);
}

/// The message once its status is final.
async fn settled(client: &Client, id: &str) -> Result<Message, Error> {
    loop {
        let message = client.message(id).await?;
        if message.is_settled() {
            return Ok(message);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
#[ignore = "needs a service: mailwright dev --ephemeral -- cargo test -- --ignored"]
async fn an_address_that_bounces() {
    let client = service();
    let (_, id) = sign_up(&client, &format!("bounced+{:x}@example.test", random())).await.unwrap();
    let message = tokio::time::timeout(Duration::from_secs(10), settled(&client, &id)).await.unwrap().unwrap();
    assert_eq!(message.recipients[0].status, RecipientStatus::Bounced);
}
