//! What calls need: where they go and by whom they are signed, and what they tell.

use std::collections::HashMap;

use super::webhook_feed::NewJob;
use crate::domain::id::{EndpointId, EventId};
use crate::domain::webhook::{PayloadForm, Secret};
use crate::store::accounts::endpoint_secrets::KeptSecret;
use crate::store::mail::log::{ProjectEvent, ProjectEventRow};
use crate::store::{Store, StoreError, decoded, on_pool};

/// An endpoint, as its calls need it.
#[derive(Debug)]
pub struct Callee {
    pub url: String,
    pub form: PayloadForm,
    /// Those that sign: the endpoint's, and those that were replaced a short while ago.
    pub secrets: Vec<Secret>,
    pub enabled: bool,
}

impl Store {
    /// Those of these endpoints that are there.
    pub async fn load_callees(&self, endpoints: &[EndpointId]) -> Result<HashMap<EndpointId, Callee>, StoreError> {
        let now = self.now();
        let rows = on_pool!(
            self,
            "webhook_endpoints.load",
            conn,
            sqlx::query!(
                r#"
                SELECT w.id, w.url, w.enabled, w.form, w.secret, w.signing_seed, w.sealed,
                    o.secrets AS old_secrets, o.seeds AS old_seeds, o.sealed AS old_sealed
                FROM webhook_endpoints w
                LEFT JOIN LATERAL (
                    SELECT array_agg(secret ORDER BY until DESC) AS secrets, array_agg(signing_seed ORDER BY until DESC) AS seeds,
                        array_agg(sealed ORDER BY until DESC) AS sealed
                    FROM webhook_old_secrets WHERE endpoint_id = w.id AND until > $2) AS o ON true
                WHERE w.id = ANY ($1)
                "#,
                &endpoints.iter().map(|endpoint| endpoint.uuid()).collect::<Vec<_>>(),
                now,
            )
            .fetch_all(conn)
        )?;
        let callees = rows.into_iter().map(|row| {
            let id = EndpointId::from_uuid(row.id);
            let old = row.old_secrets.into_iter().flatten().zip(row.old_seeds.into_iter().flatten());
            let old = old.zip(row.old_sealed.into_iter().flatten()).map(|((hmac, seed), sealed)| (hmac, seed, sealed));
            let secrets = std::iter::once((row.secret, row.signing_seed, row.sealed)).chain(old);
            let secrets = secrets.map(|(hmac, seed, sealed)| self.open_secret(KeptSecret { hmac, seed, sealed }, id));
            let secrets = secrets.collect::<Result<_, _>>()?;
            let form = decoded(PayloadForm::parse(&row.form), ("webhook_endpoints", "form"), id, &row.form)?;
            Ok((id, Callee { url: row.url, form, secrets, enabled: row.enabled }))
        });
        callees.collect()
    }

    /// What these calls tell, of what is still there.
    pub async fn load_told(&self, calls: &[NewJob]) -> Result<HashMap<EventId, ProjectEvent>, StoreError> {
        let rows = on_pool!(
            self,
            "webhook_jobs.load",
            conn,
            sqlx::query_as!(
                ProjectEventRow,
                r#"
                SELECT e.id, e.era, e.xid::text AS "xid!", e.message_id, e.recipient_id, e.mode, e.sequence,
                    e.type AS event_type, e.occurred_at, e.data, r.address AS "address?", r.kind AS "kind?",
                    r.position AS "position?", m.author AS "author?", m.subject AS "subject?", m.tags AS "tags?",
                    m.metadata AS "metadata?", m.idempotency_key, m.message_id AS "header_id?"
                FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::uuid[]) AS c (endpoint_id, shard, message_id, event_id)
                JOIN webhook_endpoints w ON w.id = c.endpoint_id
                JOIN events e ON e.project_id = w.project_id AND e.shard = c.shard AND e.message_id = c.message_id
                    AND e.id = c.event_id
                LEFT JOIN messages m ON m.shard = e.shard AND m.id = e.message_id
                LEFT JOIN recipients r ON r.shard = e.shard AND r.message_id = e.message_id AND r.id = e.recipient_id
                "#,
                &calls.iter().map(|call| call.endpoint.uuid()).collect::<Vec<_>>(),
                &calls.iter().map(|call| call.event.shard().value()).collect::<Vec<_>>(),
                &calls.iter().map(|call| call.message.uuid()).collect::<Vec<_>>(),
                &calls.iter().map(|call| call.event.uuid()).collect::<Vec<_>>(),
            )
            .fetch_all(conn)
        )?;
        let events = rows.into_iter().map(|row| row.decode().map(|event| (event.id, event)));
        events.filter(|event| event.as_ref().map_or(true, |(_, event)| event.is_whole())).collect()
    }
}
