//! Lists that name sending domains, or addresses that mail leaves from (RFC 5782).

use std::time::Duration;

use sqlx::PgConnection;

use crate::domain::clock::Timestamp;
use crate::domain::id::DomainId;
use crate::store::{Store, StoreError, on_pool};

impl Store {
    /// The lists that name a domain or an address.
    pub async fn list_listings(&self, subject: &str) -> Result<Vec<String>, StoreError> {
        on_pool!(
            self,
            "listings.list",
            conn,
            sqlx::query_scalar!("SELECT list FROM listings WHERE subject = $1 ORDER BY list", subject).fetch_all(conn)
        )
    }

    /// All that is listed, with the lists.
    pub async fn list_all_listings(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = on_pool!(
            self,
            "listings.list_all",
            conn,
            sqlx::query!("SELECT subject, list FROM listings ORDER BY subject, list LIMIT 1000").fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(|row| (row.subject, row.list)).collect())
    }

    /// Writes that a list names a subject, with what it answered; `true` if it did not before.
    pub async fn put_listing(&self, subject: &str, list: &str, answers: &[String]) -> Result<bool, StoreError> {
        let now = self.now();
        on_pool!(self, "listings.put", conn, upsert_listing(conn, subject, (list, answers), now))
    }

    /// Writes that a list does not name a subject; `true` if it did before.
    pub async fn remove_listing(&self, subject: &str, list: &str) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "listings.remove",
            conn,
            sqlx::query!("DELETE FROM listings WHERE subject = $1 AND list = $2", subject, list).execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether lists are to be asked about a domain now: once in so long, by whoever comes first.
    pub async fn take_list_look(&self, domain: DomainId, every: Duration) -> Result<bool, StoreError> {
        let now = self.now();
        let done = on_pool!(
            self,
            "listings.take",
            conn,
            sqlx::query!(
                "UPDATE domains SET lists_asked_at = $2 WHERE id = $1 AND (lists_asked_at IS NULL OR lists_asked_at <= $3)",
                domain.uuid(),
                now,
                now - every,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets what no list has said again for so long: the list is asked no more, or there is nothing to ask about.
    pub async fn forget_listings(&self, after: Duration) -> Result<(), StoreError> {
        let before = self.now() - after;
        on_pool!(
            self,
            "listings.forget",
            conn,
            sqlx::query!("DELETE FROM listings WHERE checked_at < $1", before).execute(conn)
        )?;
        Ok(())
    }
}

/// Writes that a list names a subject, with what it answered; whether it did not before.
pub async fn upsert_listing(
    conn: &mut PgConnection,
    subject: &str,
    (list, answers): (&str, &[String]),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let is_new = sqlx::query_scalar!(
        r#"
        INSERT INTO listings (subject, list, since, checked_at, answers) VALUES ($1, $2, $3, $3, to_jsonb($4::text[]))
        ON CONFLICT (subject, list) DO UPDATE SET checked_at = excluded.checked_at, answers = excluded.answers
        RETURNING since = checked_at AS "is_new!"
        "#,
        subject,
        list,
        now,
        answers,
    )
    .fetch_one(conn)
    .await?;
    Ok(is_new)
}
