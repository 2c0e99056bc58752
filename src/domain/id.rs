//! Ids: a `UUIDv7` behind a prefix that says what it names (`msg_0192…`).
//!
//! The text form is the prefix, `_`, and 32 lower-case hex digits. The lowest six bits of the id of a message, and of
//! what belongs to one, are its shard's index, so that an id alone finds its rows; see [`crate::domain::shard`].

use std::fmt;
use std::marker::PhantomData;

use uuid::Uuid;

use super::clock::{Rng, Timestamp};
use super::shard::Shard;

/// What an id names.
pub trait Kind {
    const PREFIX: &'static str;
}

/// What lies in a shard: its ids carry it.
pub trait Sharded: Kind {}
/// What lies in none: configuration.
pub trait Unsharded: Kind {}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $alias:ident $prefix:literal $place:ident;)*) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $kind {}
        impl Kind for $kind { const PREFIX: &'static str = $prefix; }
        impl $place for $kind {}
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

kinds! {
    Message MessageId "msg" Sharded;
    /// Also the id of the recipient's delivery: a recipient is owed at most one.
    Recipient RecipientId "rcp" Sharded;
    Attempt AttemptId "att" Sharded;
    Event EventId "evt" Sharded;
    Suppression SuppressionId "sup" Sharded;
    Endpoint EndpointId "whk" Unsharded;
    /// Follows from event and endpoint.
    WebhookDelivery WebhookDeliveryId "whd" Unsharded;
    Replay ReplayId "rpl" Unsharded;
    Key KeyId "key" Unsharded;
    Project ProjectId "prj" Unsharded;
    /// A domain that a project sends from.
    Domain DomainId "dom" Unsharded;
    DkimKey DkimKeyId "dkm" Unsharded;
    Upload UploadId "upl" Unsharded;
    /// Of the messages of one batch request.
    Batch BatchId "bat" Unsharded;
    Template TemplateId "tpl" Unsharded;
    /// A step in the life of a template.
    TemplateStep TemplateStepId "tps" Unsharded;
    Erasure ErasureId "ers" Unsharded;
    /// An entry of who changed what.
    Audit AuditId "aud" Unsharded;
    /// Of what came back by mail.
    Report ReportId "rep" Unsharded;
}

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<K>,
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}

impl<K: Unsharded> Id<K> {
    /// A new id, ordered by `now` to the millisecond.
    pub fn new(now: Timestamp, rng: &dyn Rng) -> Self {
        Self::from_uuid(uuid_v7(now, rng))
    }
}

impl<K: Kind> Id<K> {
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    pub const fn uuid(self) -> Uuid {
        self.uuid
    }

    /// The instant that it was made at, to the millisecond.
    pub fn made_at(self) -> Timestamp {
        let nanos = self.uuid.get_timestamp().map_or(0, |at| {
            let (seconds, nanos) = at.to_unix();
            i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
        });
        Timestamp::from_unix_timestamp_nanos(nanos).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The id that `text` writes, or `None` when it is not one of this kind.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(K::PREFIX)?.strip_prefix('_')?;
        let plain = hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        plain.then(|| Uuid::try_parse(hex).ok()).flatten().map(Self::from_uuid)
    }
}

impl<K: Sharded> Id<K> {
    /// A new id whose lowest six bits are the index of `shard`.
    pub fn new_in(shard: Shard, now: Timestamp, rng: &dyn Rng) -> Self {
        let mut bytes = *uuid_v7(now, rng).as_bytes();
        bytes[15] = (bytes[15] & !0x3f) | shard.index();
        Self::from_uuid(Uuid::from_bytes(bytes))
    }

    pub const fn shard(self) -> Shard {
        Shard::of_low_bits(self.uuid.as_bytes()[15])
    }
}

fn uuid_v7(now: Timestamp, rng: &dyn Rng) -> Uuid {
    let mut random = [0; 10];
    rng.fill(&mut random);
    let millis = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", K::PREFIX, self.uuid.simple())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> serde::Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> serde::Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("not an id of {}_", K::PREFIX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededRng;
    use time::macros::datetime;

    const NOW: Timestamp = datetime!(2026-11-22 10:00 UTC);

    #[test]
    fn a_message_id_carries_its_shard_and_survives_the_text_form() {
        let rng = SeededRng::new(7);
        for shard in Shard::all() {
            let id = MessageId::new_in(shard, NOW, &rng);
            assert_eq!(id.shard(), shard);
            assert_eq!(id.uuid().get_version_num(), 7);
            assert_eq!(MessageId::parse(&id.to_string()), Some(id));
            assert_eq!(EventId::new_in(shard, NOW, &rng).shard(), shard, "and what belongs to it too");
        }
    }

    #[test]
    fn an_id_of_another_kind_or_another_spelling_is_not_parsed() {
        let id = MessageId::new_in(Shard::of_low_bits(1), NOW, &SeededRng::new(1)).to_string();
        assert_eq!(RecipientId::parse(&id), None);
        assert_eq!(MessageId::parse(&id.to_uppercase()), None);
        assert_eq!(MessageId::parse("msg_"), None);
        assert_eq!(MessageId::parse(&format!("{id}0")), None);
    }
}
