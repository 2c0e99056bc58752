//! What endpoints were told, and are being told: each call with what was answered.

use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventType;
use crate::domain::id::{EndpointId, EventId, MessageId};
use crate::domain::webhook::{EndpointMode, WebhookStatus, WebhookTry};
use crate::store::{Store, StoreError, decoded, on_pool};

/// An event that an endpoint was told, or is being told.
#[derive(Debug)]
pub struct EndpointDelivery {
    pub id: Uuid,
    pub endpoint: EndpointId,
    pub url: String,
    pub event: EventId,
    /// Not there once the event is past its retention.
    pub event_type: Option<EventType>,
    pub message: MessageId,
    pub status: WebhookStatus,
    pub attempts: i32,
    pub response_code: Option<i16>,
    pub detail: String,
    /// `None` while it is being called, while the endpoint is disabled, and at the end.
    pub next_try_at: Option<Timestamp>,
    pub settled_at: Option<Timestamp>,
    /// The last ones, oldest first.
    pub tries: Vec<WebhookTry>,
}

struct Row {
    id: Uuid,
    endpoint_id: Uuid,
    url: String,
    event_id: Uuid,
    event_type: Option<String>,
    message_id: Uuid,
    status: String,
    attempts: i32,
    response_code: Option<i16>,
    detail: String,
    next_try_at: Option<Timestamp>,
    settled_at: Option<Timestamp>,
    tries: serde_json::Value,
}

/// What a list of an endpoint's deliveries is narrowed to.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeliveryFilter {
    pub status: Option<WebhookStatus>,
    pub event: Option<EventId>,
    pub before: Option<EventId>,
}

impl Store {
    /// What an endpoint was told and is being told, newest event first. What is told again is listed as that.
    pub async fn list_endpoint_deliveries(
        &self,
        endpoint: EndpointId,
        filter: DeliveryFilter,
        limit: i64,
    ) -> Result<Vec<EndpointDelivery>, StoreError> {
        let rows = on_pool!(
            self,
            "webhook_deliveries.list",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                WITH page AS MATERIALIZED (
                    (SELECT j.shard, j.id, j.endpoint_id, j.event_id, j.message_id, 'pending' AS status, j.attempt AS attempts,
                        (j.tries -> -1 ->> 'response_code')::smallint AS response_code,
                        COALESCE(j.tries -> -1 ->> 'detail', '') AS detail,
                        CASE WHEN j.lease_token IS NULL THEN j.due_at END AS next_try_at, NULL::timestamptz AS settled_at,
                        j.tries
                    FROM webhook_jobs j
                    WHERE j.endpoint_id = $1 AND ($2::uuid IS NULL OR j.event_id < $2) AND COALESCE($4, 'pending') = 'pending'
                      AND ($5::uuid IS NULL OR j.event_id = $5)
                    ORDER BY j.event_id DESC LIMIT $3)
                    UNION ALL
                    (SELECT d.shard, d.id, d.endpoint_id, d.event_id, d.message_id, d.status, d.attempts, d.response_code,
                        d.detail, NULL, d.settled_at, d.tries
                    FROM webhook_deliveries d
                    WHERE d.endpoint_id = $1 AND ($2::uuid IS NULL OR d.event_id < $2) AND ($4::text IS NULL OR $4 = 'succeeded' AND d.status = 'succeeded')
                      AND ($5::uuid IS NULL OR d.event_id = $5)
                      AND NOT EXISTS (SELECT 1 FROM webhook_jobs j WHERE j.shard = d.shard AND j.id = d.id)
                    ORDER BY d.event_id DESC LIMIT $3)
                    UNION ALL
                    -- Those that failed have an index of their own.
                    (SELECT d.shard, d.id, d.endpoint_id, d.event_id, d.message_id, d.status, d.attempts, d.response_code,
                        d.detail, NULL, d.settled_at, d.tries
                    FROM webhook_deliveries d
                    WHERE d.endpoint_id = $1 AND ($2::uuid IS NULL OR d.event_id < $2) AND $4 = 'failed'
                      AND d.status = 'failed' AND ($5::uuid IS NULL OR d.event_id = $5)
                      AND NOT EXISTS (SELECT 1 FROM webhook_jobs j WHERE j.shard = d.shard AND j.id = d.id)
                    ORDER BY d.event_id DESC LIMIT $3)
                    ORDER BY event_id DESC LIMIT $3)
                SELECT p.id AS "id!", p.endpoint_id AS "endpoint_id!", w.url, p.event_id AS "event_id!",
                    e.type AS "event_type?", p.message_id AS "message_id!", p.status AS "status!", p.attempts AS "attempts!",
                    p.response_code, p.detail AS "detail!", CASE WHEN w.enabled THEN p.next_try_at END AS next_try_at,
                    p.settled_at, p.tries AS "tries!"
                FROM page p JOIN webhook_endpoints w ON w.id = p.endpoint_id
                LEFT JOIN events e ON e.shard = p.shard AND e.message_id = p.message_id AND e.id = p.event_id
                ORDER BY p.event_id DESC
                "#,
                endpoint.uuid(),
                filter.before.map(EventId::uuid),
                limit,
                filter.status.map(WebhookStatus::name),
                filter.event.map(EventId::uuid),
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(Row::decode).collect()
    }

    /// What endpoints were told and are being told of a message, oldest event first. Only those of that mode, if one is named.
    pub async fn list_webhooks_of_message(
        &self,
        message: MessageId,
        only: Option<Mode>,
        limit: i64,
    ) -> Result<Vec<EndpointDelivery>, StoreError> {
        let only = only.map(|mode| match mode {
            Mode::Live => EndpointMode::Live.name(),
            Mode::Test => EndpointMode::Test.name(),
        });
        let rows = on_pool!(
            self,
            "webhook_deliveries.list_of_message",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                SELECT p.id AS "id!", p.endpoint_id AS "endpoint_id!", w.url, p.event_id AS "event_id!",
                    e.type AS "event_type?", $2::uuid AS "message_id!", p.status AS "status!", p.attempts AS "attempts!",
                    p.response_code, p.detail AS "detail!", CASE WHEN w.enabled THEN p.next_try_at END AS next_try_at,
                    p.settled_at, p.tries AS "tries!"
                FROM (
                    SELECT j.id, j.endpoint_id, j.event_id, 'pending' AS status, j.attempt AS attempts,
                        (j.tries -> -1 ->> 'response_code')::smallint AS response_code,
                        COALESCE(j.tries -> -1 ->> 'detail', '') AS detail,
                        CASE WHEN j.lease_token IS NULL THEN j.due_at END AS next_try_at, NULL::timestamptz AS settled_at,
                        j.tries
                    FROM webhook_jobs j WHERE j.shard = $1 AND j.message_id = $2
                    UNION ALL
                    SELECT d.id, d.endpoint_id, d.event_id, d.status, d.attempts, d.response_code, d.detail, NULL,
                        d.settled_at, d.tries
                    FROM webhook_deliveries d
                    WHERE d.shard = $1 AND d.message_id = $2
                      AND NOT EXISTS (SELECT 1 FROM webhook_jobs j WHERE j.shard = d.shard AND j.id = d.id)) AS p
                JOIN webhook_endpoints w ON w.id = p.endpoint_id AND ($4::text IS NULL OR w.mode = $4)
                LEFT JOIN events e ON e.shard = $1 AND e.message_id = $2 AND e.id = p.event_id
                ORDER BY p.event_id, p.endpoint_id LIMIT $3
                "#,
                message.shard().value(),
                message.uuid(),
                limit,
                only,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(Row::decode).collect()
    }
}

impl Row {
    fn decode(self) -> Result<EndpointDelivery, StoreError> {
        let status = WebhookStatus::parse(&self.status);
        Ok(EndpointDelivery {
            id: self.id,
            endpoint: EndpointId::from_uuid(self.endpoint_id),
            url: self.url,
            event: EventId::from_uuid(self.event_id),
            event_type: self.event_type.as_deref().and_then(EventType::parse),
            message: MessageId::from_uuid(self.message_id),
            status: decoded(status, ("webhook_deliveries", "status"), self.id, &self.status)?,
            attempts: self.attempts,
            response_code: self.response_code,
            detail: self.detail,
            next_try_at: self.next_try_at,
            settled_at: self.settled_at,
            tries: serde_json::from_value(self.tries)
                .map_err(|error| StoreError::corrupt("webhook_deliveries", "tries", self.id, error.to_string()))?,
        })
    }
}
