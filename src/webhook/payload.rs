//! The body of a webhook: `{type, timestamp, data}`.

use serde_json::{Map, Value, json};

use crate::domain::clock::rfc3339;
use crate::store::queue::webhook_jobs::{LeasedJob, LoadedJob};

/// The same bytes for every try of a job.
pub fn body(job: &LeasedJob, loaded: &LoadedJob) -> Vec<u8> {
    let mut data: Map<String, Value> = loaded.data.as_object().cloned().unwrap_or_default();
    data.extend([
        ("event_id".to_owned(), json!(job.event)),
        ("message_id".to_owned(), json!(job.message)),
        ("recipient_id".to_owned(), json!(loaded.recipient)),
        ("email".to_owned(), json!(loaded.email)),
        ("sequence".to_owned(), json!(loaded.sequence)),
        ("tags".to_owned(), loaded.tags.clone()),
        ("metadata".to_owned(), loaded.metadata.clone()),
    ]);
    let body = json!({"type": loaded.event_type, "timestamp": rfc3339(loaded.occurred_at), "data": data});
    body.to_string().into_bytes()
}
