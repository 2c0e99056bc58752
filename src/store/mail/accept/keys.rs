//! Idempotency keys in the accepting transaction: of requests, and of items of batches.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{ItemStored, Stored};
use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, ProjectId};
use crate::domain::message::{Idempotency, NewSubmission};
use crate::store::StoreError;

/// A key and the ids that it is to name.
struct Keyed<'s> {
    key: &'s Idempotency,
    ids: Vec<Uuid>,
}

/// Keys that were taken before, with what they were taken for.
type Known = HashMap<(ProjectId, String), (Vec<u8>, Vec<Uuid>)>;

/// Claims the keys of a batch of submissions; says what is to become of each. Keys of what is not to be stored are free
/// again.
pub(super) async fn claim(
    conn: &mut PgConnection,
    batch: &[NewSubmission],
    now: Timestamp,
) -> Result<Vec<Stored>, StoreError> {
    let of_requests = batch.iter().filter_map(|s| Some(Keyed { key: s.key.as_ref()?, ids: ids_of(s) })).collect();
    let known = claim_keys(conn, of_requests, now).await?;
    let mut stored: Vec<_> = batch.iter().map(|submission| outcome(submission, &known)).collect();
    let open = |stored: &Stored| matches!(stored, Stored::Accepted(_));
    let items = batch.iter().zip(&stored).filter(|(_, stored)| open(stored)).flat_map(|(s, _)| &s.items);
    let of_items: Vec<_> = items
        .filter_map(|item| Some(Keyed { key: item.key.as_ref()?, ids: item.ids().map(MessageId::uuid).collect() }))
        .collect();
    if of_items.is_empty() {
        return Ok(stored);
    }
    let known = claim_keys(conn, of_items, now).await?;
    if known.is_empty() {
        return Ok(stored);
    }
    for (submission, stored) in batch.iter().zip(&mut stored).filter(|(_, stored)| open(stored)) {
        settle_items(conn, submission, stored, &known).await?;
    }
    Ok(stored)
}

/// What becomes of a submission whose items' keys may have been used before.
async fn settle_items(
    conn: &mut PgConnection,
    submission: &NewSubmission,
    stored: &mut Stored,
    known: &Known,
) -> Result<(), StoreError> {
    let items: Vec<_> = submission
        .items
        .iter()
        .map(|item| match item.key.as_ref().and_then(|key| Some((key, find(known, key)?))) {
            None => ItemStored::Accepted,
            Some((key, (fingerprint, ids))) if *fingerprint == key.fingerprint => {
                ItemStored::Replayed(ids.iter().copied().map(MessageId::from_uuid).collect())
            }
            Some(_) => ItemStored::Mismatch,
        })
        .collect();
    let mismatch = items.iter().position(|item| *item == ItemStored::Mismatch);
    if let Some(at) = mismatch.filter(|_| submission.is_strict) {
        let own = submission.items.iter().filter_map(|item| item.key.as_ref()).filter(|key| find(known, key).is_none());
        release(conn, own.chain(&submission.key)).await?;
        *stored = Stored::Refused(at);
        return Ok(());
    }
    if let Some(key) = submission.key.as_ref().filter(|_| items.iter().any(|item| *item != ItemStored::Accepted)) {
        let ids = submission.items.iter().zip(&items).map(|(item, stored)| match stored {
            ItemStored::Replayed(ids) => ids.clone(),
            ItemStored::Mismatch | ItemStored::Gone => Vec::new(),
            ItemStored::Accepted => item.ids().collect(),
        });
        name_others(conn, key, &joined(ids, submission.items.len())).await?;
    }
    *stored = Stored::Accepted(items);
    Ok(())
}

fn find<'k>(known: &'k Known, key: &Idempotency) -> Option<&'k (Vec<u8>, Vec<Uuid>)> {
    known.get(&(key.project, key.key.clone()))
}

fn outcome(submission: &NewSubmission, known: &Known) -> Stored {
    match submission.key.as_ref().and_then(|key| Some((key, find(known, key)?))) {
        None => Stored::Accepted(vec![ItemStored::Accepted; submission.items.len()]),
        Some((key, (fingerprint, ids))) if *fingerprint == key.fingerprint => Stored::Replayed(parted(ids)),
        Some(_) => Stored::Mismatch,
    }
}

/// The ids of a submission, as its key names them.
fn ids_of(submission: &NewSubmission) -> Vec<Uuid> {
    joined(submission.items.iter().map(|item| item.ids().collect()), submission.items.len())
}

/// The ids of several items in one list: behind each item's stands the nil id. One item's stand alone.
fn joined(items: impl Iterator<Item = Vec<MessageId>>, count: usize) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for item in items {
        ids.extend(item.into_iter().map(MessageId::uuid));
        if count > 1 {
            ids.push(Uuid::nil());
        }
    }
    ids
}

/// The ids of each item, of a list that [`joined`] made.
pub(in crate::store) fn parted(ids: &[Uuid]) -> Vec<Vec<MessageId>> {
    let of = |ids: &[Uuid]| ids.iter().copied().map(MessageId::from_uuid).collect::<Vec<_>>();
    match ids.strip_suffix(&[Uuid::nil()]) {
        Some(items) => items.split(Uuid::is_nil).map(of).collect(),
        None => vec![of(ids)],
    }
}

/// Claims keys; returns what was found for those that were taken already.
async fn claim_keys(conn: &mut PgConnection, mut keyed: Vec<Keyed<'_>>, now: Timestamp) -> Result<Known, StoreError> {
    if keyed.is_empty() {
        return Ok(Known::new());
    }
    // Two writers that lock the same keys do so in the same order.
    keyed.sort_by(|a, b| (a.key.project, &a.key.key).cmp(&(b.key.project, &b.key.key)));
    let ids = |keyed: &Keyed<'_>| {
        let ids: Vec<_> = keyed.ids.iter().map(|id| id.simple().to_string()).collect();
        format!("{{{}}}", ids.join(","))
    };
    let shards: Vec<i32> = keyed.iter().map(|keyed| keyed.key.shard().value()).collect();
    let projects: Vec<Uuid> = keyed.iter().map(|keyed| keyed.key.project.uuid()).collect();
    let keys: Vec<String> = keyed.iter().map(|keyed| keyed.key.key.clone()).collect();
    let fingerprints: Vec<Vec<u8>> = keyed.iter().map(|keyed| keyed.key.fingerprint.to_vec()).collect();
    let messages: Vec<String> = keyed.iter().map(ids).collect();
    let expiries: Vec<Timestamp> = keyed.iter().map(|keyed| keyed.key.expires_at).collect();
    let won: HashSet<(Uuid, String)> = sqlx::query!(
        r#"
        INSERT INTO idempotency_keys (shard, project_id, key, fingerprint, message_ids, expires_at)
        -- An array of arrays would have to be square: each list of ids travels as its text.
        SELECT k.shard, k.project_id, k.key, k.fingerprint, k.message_ids::uuid[], k.expires_at
        FROM unnest($1::int[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[])
            AS k (shard, project_id, key, fingerprint, message_ids, expires_at)
        ON CONFLICT (shard, project_id, key) DO UPDATE
            SET fingerprint = excluded.fingerprint, message_ids = excluded.message_ids, expires_at = excluded.expires_at
            WHERE idempotency_keys.expires_at <= $7
        RETURNING project_id, key
        "#,
        &shards,
        &projects,
        &keys,
        &fingerprints,
        &messages,
        &expiries,
        now,
    )
    .fetch_all(&mut *conn)
    .await?
    .into_iter()
    .map(|row| (row.project_id, row.key))
    .collect();
    if won.len() == keyed.len() {
        return Ok(HashMap::new());
    }
    let found = sqlx::query!(
        r#"
        SELECT k.project_id, k.key, k.fingerprint, k.message_ids
        FROM unnest($1::int[], $2::uuid[], $3::text[]) AS w (shard, project_id, key)
        JOIN idempotency_keys k ON k.shard = w.shard AND k.project_id = w.project_id AND k.key = w.key
        "#,
        &shards,
        &projects,
        &keys,
    )
    .fetch_all(&mut *conn)
    .await?;
    let found: Known = found
        .into_iter()
        .filter(|row| !won.contains(&(row.project_id, row.key.clone())))
        .map(|row| ((ProjectId::from_uuid(row.project_id), row.key), (row.fingerprint, row.message_ids)))
        .collect();
    if found.len() + won.len() < keyed.len() {
        return Err(StoreError::Away("an idempotency key vanished while it was read".to_owned()));
    }
    Ok(found)
}

/// Gives back keys that this transaction claimed.
async fn release<'k>(
    conn: &mut PgConnection,
    keys: impl Iterator<Item = &'k Idempotency> + Clone,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM idempotency_keys k USING unnest($1::int[], $2::uuid[], $3::text[]) AS w (shard, project_id, key)
        WHERE k.shard = w.shard AND k.project_id = w.project_id AND k.key = w.key
        "#,
        &keys.clone().map(|key| key.shard().value()).collect::<Vec<_>>(),
        &keys.clone().map(|key| key.project.uuid()).collect::<Vec<_>>(),
        &keys.map(|key| key.key.clone()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets a key that this transaction claimed name other messages.
async fn name_others(conn: &mut PgConnection, key: &Idempotency, ids: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE idempotency_keys SET message_ids = $4 WHERE shard = $1 AND project_id = $2 AND key = $3",
        key.shard().value(),
        key.project.uuid(),
        key.key,
        ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_items_are_parted_as_they_were_joined() {
        let ids: Vec<_> = (1..5).map(|n| MessageId::from_uuid(Uuid::from_u128(n))).collect();
        for items in [
            vec![vec![ids[0]]],
            vec![vec![ids[0], ids[1]]],
            vec![vec![ids[0]], vec![ids[1]]],
            vec![vec![], vec![ids[1], ids[2]], vec![], vec![ids[3]], vec![]],
            vec![vec![ids[0]], vec![]],
        ] {
            assert_eq!(parted(&joined(items.clone().into_iter(), items.len())), items);
        }
    }
}
