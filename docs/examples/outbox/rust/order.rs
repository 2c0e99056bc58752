//! An order and its receipt in one transaction: what is rolled back sends nothing, what commits is sent.
//!
//! Prints the message's id and status; ends with 0 when it was delivered. Needs sqlx with the features `postgres`, `json` and
//! a runtime's, `serde_json`, tokio, and the client of `clients/rust` for the wait. `DATABASE_URL` is the application's own, of a
//! role that `mailwright outbox grant` named.

use std::error::Error;
use std::time::Duration;

use mailwright_client::{Client, MessageStatus};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnection, PgPool};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    println!("{}", run(&variable("DATABASE_URL")?, &variable("MAILWRIGHT_URL")?, &variable("MAILWRIGHT_KEY")?).await?);
    Ok(())
}

/// Enqueues mail in the caller's transaction; gives the message's id. The key lets a job that runs twice send once.
async fn enqueue(conn: &mut PgConnection, message: &Value, mode: &str, key: &str) -> Result<String, sqlx::Error> {
    let enqueue = sqlx::query_scalar("SELECT mailwright.enqueue($1, mode => $2, idempotency_key => $3)");
    enqueue.bind(message).bind(mode).bind(key).fetch_one(conn).await
}

/// Stores an order, and its receipt with it.
async fn place_order(conn: &mut PgConnection, customer: &str, cents: i32, mode: &str) -> Result<String, sqlx::Error> {
    let insert = sqlx::query_scalar("INSERT INTO orders (customer, cents) VALUES ($1, $2) RETURNING id");
    let order: i64 = insert.bind(customer).bind(cents).fetch_one(&mut *conn).await?;
    let receipt = json!({
        "from": "Example Shop <shop@example.com>",
        "to": [customer],
        "subject": format!("Your receipt for order {order}"),
        "text": format!("Thank you. We have charged {}.{:02} EUR.", cents / 100, cents % 100),
        "tags": ["receipt"],
    });
    enqueue(conn, &receipt, mode, &format!("order-{order}-receipt")).await
}

pub async fn run(database: &str, url: &str, key: &str) -> Result<String, Box<dyn Error>> {
    let mode = if key.starts_with("mw_test_") { "test" } else { "live" };
    let (pool, client) = (PgPool::connect(database).await?, Client::new(url, key)?);
    let table = "CREATE TABLE IF NOT EXISTS orders
        (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer text NOT NULL, cents integer NOT NULL)";
    sqlx::query(table).execute(&pool).await?;

    let mut declined = pool.begin().await?;
    let lost = place_order(&mut declined, "nobody@example.net", 100, mode).await?;
    declined.rollback().await?; // the card was declined, say

    let mut paid = pool.begin().await?;
    let receipt = place_order(&mut paid, "ada@example.net", 1999, mode).await?;
    paid.commit().await?;

    // What is no message does not get that far, and takes the transaction with it.
    let mut faulty = pool.begin().await?;
    match place_order(&mut faulty, "no address", 1, mode).await {
        Err(error) if error.to_string().contains("/to/0") => faulty.rollback().await?,
        other => return Err(format!("a faulty message was not refused as such: {other:?}").into()),
    }

    for _ in 0..120 {
        let message = client.message(&receipt).await?;
        match message.status {
            MessageStatus::Delivered => break,
            MessageStatus::PartiallyDelivered | MessageStatus::Failed | MessageStatus::Cancelled => {
                return Err(format!("{receipt} {:?}", message.status).into());
            }
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
    let orders: Vec<String> = sqlx::query_scalar("SELECT customer FROM orders").fetch_all(&pool).await?;
    let is_known = client.message(&lost).await.is_ok();
    pool.close().await;
    if is_known || orders != ["ada@example.net"] {
        return Err("what was rolled back is there".into());
    }
    Ok(format!("{receipt} delivered"))
}
