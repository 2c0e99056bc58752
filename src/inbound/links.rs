//! What comes back by links of ours: that somebody wants no more of a kind of mail, that a message was opened, that a link was
//! followed. Whoever follows a link gets where it leads, also when nothing could be taken down.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{Intake, NotTaken};
use crate::compose::links::{Linked, Subscription, open_click, open_image, open_unsubscribe};
use crate::compose::token::Ring;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventType;
use crate::domain::id::{MessageId, ReportId};
use crate::domain::report_kept::{ReportOutcome, ReportSource};
use crate::domain::suppression::{Evidence, NewSuppression, SuppressionReason, SuppressionScope};
use crate::feedback::Meaning;
use crate::store::StoreError;
use crate::store::accounts::erasures::form_of_digest;
use crate::store::mail::reports::{Attributed, KeptReport, NewReport, ReportStored};

/// How long somebody who wants no more waits for a turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long somebody who follows a link waits until that is taken down.
const BOOKS: Duration = Duration::from_secs(1);
/// Messages of which it is known that no more is taken down.
const OFTEN_MAX: usize = 10_000;
/// Characters of a browser's name that are kept.
const AGENT_MAX: usize = 256;

/// Messages whose image, or links, were followed so often that nothing more is taken down: nobody asks the store for them.
#[derive(Default)]
pub struct Often(Mutex<HashSet<(MessageId, bool)>>);

impl Often {
    fn has(&self, message: MessageId, event_type: EventType) -> bool {
        self.known().contains(&(message, event_type == EventType::Opened))
    }

    fn add(&self, message: MessageId, event_type: EventType) {
        let mut known = self.known();
        if known.len() >= OFTEN_MAX {
            known.clear();
        }
        known.insert((message, event_type == EventType::Opened));
    }

    fn known(&self) -> MutexGuard<'_, HashSet<(MessageId, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who followed a link, as far as it says.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    /// `Host`, as it was named; empty: none.
    pub host: String,
    /// `User-Agent`; empty: none.
    pub agent: String,
    /// It says that it only fetches what somebody may want later.
    pub is_prefetch: bool,
}

/// What became of a look at a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// It was taken down, or need not be.
    Taken,
    /// It is none of ours.
    Refused,
    /// It could not be taken down: too much comes, or the store is away.
    Missed,
    /// Nobody can tell now whether it is one of ours: the keys cannot be had.
    Unknown,
}

impl Followed {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Missed => "missed",
            Self::Unknown => "unknown",
        }
    }
}

impl Intake {
    /// What a link to want no more says; `None`: it is none of ours.
    pub async fn subscription(&self, token: &str, host: &str) -> Result<Option<Subscription>, StoreError> {
        let Some(found) = self.opened_by(|ring| open_unsubscribe(ring, token)).await? else { return Ok(None) };
        let linked = Linked { message: found.message, project: Some(found.project) };
        Ok(self.is_at_home(host, linked).await?.then_some(found))
    }

    /// Takes down that somebody wants no more of a kind of mail: it is heeded from now on. Twice is once.
    pub async fn unsubscribe(&self, subscription: &Subscription) -> Result<(), NotTaken> {
        let Subscription { mode, project, message, stream, .. } = subscription;
        // Mail clients ask once: whoever wants no more waits a little for a turn.
        let turn = tokio::time::timeout(PATIENCE, self.unsubscribers.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(NotTaken::Full) };
        // Of a message that is gone only the hash of the address is known, and serves as well.
        let about = self.store.attribute(*message, Some(0), &[]).await?.pop();
        let about = about.filter(|about| about.project == *project && about.mode == *mode);
        let address = about
            .as_ref()
            .map_or_else(|| form_of_digest(&subscription.address_hash), |about| about.address.to_lowercase());
        let evidence =
            Evidence { source: Some("link".to_owned()), message_id: Some(message.to_string()), ..Evidence::default() };
        let reason = SuppressionReason::Unsubscribe;
        let now = self.clock.now();
        let suppression = NewSuppression {
            scope: SuppressionScope::Stream(stream.clone()),
            ..NewSuppression::learnt((*project, *mode), address, reason, None, evidence, now)
        };
        // Before the event that says so: a crash in between leads to the click once more.
        let added = self.suppressions.add(vec![suppression]).await?;
        if let Some(about) = about {
            let is_told = self.tell_unsubscribed(about.clone(), stream, None).await?;
            // Somebody took it back since, and it is wished for again.
            if !is_told && added.added > 0 {
                self.tell_unsubscribed(about, stream, Some(now)).await?;
            }
        }
        Ok(())
    }

    /// Tells it, once, or once more at an instant; whether it was told now.
    async fn tell_unsubscribed(
        &self,
        about: Attributed,
        stream: &str,
        again_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let again = again_at.map(|at| at.unix_timestamp_nanos().to_be_bytes());
        let again = again.as_ref().map_or(&[][..], |bytes| bytes);
        let known_by = [about.message.uuid().as_bytes().as_slice(), b"unsubscribe", stream.as_bytes(), again].concat();
        let report = NewReport {
            id: ReportId::new(now, &*self.rng),
            digest: digest(&SHA256, &known_by).as_ref().to_vec(),
            kept: KeptReport {
                received_at: now,
                source: ReportSource::Link,
                envelope_from: String::new(),
                envelope_to: String::new(),
                meaning: Meaning::OptOut.name().to_owned(),
                outcome: ReportOutcome::Told,
                detail: json!({"stream": stream}),
                raw: Vec::new(),
            },
            about: Some(about),
        };
        let event = (EventType::Unsubscribed, json!({"stream": stream}));
        let stored = self.store.put_report(&report, Some(&event), &*self.rng).await?;
        let is_new = stored == ReportStored::New;
        if let Some(about) = report.about.filter(|_| is_new) {
            self.events.ring(about.shard);
        }
        Ok(is_new)
    }

    /// Takes down that the image of a message was loaded.
    pub async fn image_loaded(&self, token: &str, follower: &Follower) -> Followed {
        match self.linked_by(follower, |ring| open_image(ring, token)).await {
            Ok(Some(message)) => self.tell(message, EventType::Opened, follower, json!({})).await,
            Ok(None) => Followed::Refused,
            Err(_) => Followed::Missed,
        }
    }

    /// Takes down that a link was followed to `url`. `Refused`: no link of ours leads there.
    pub async fn link_followed(&self, token: &str, url: &str, follower: &Follower) -> Followed {
        match self.linked_by(follower, |ring| open_click(ring, token, url)).await {
            Ok(Some(message)) => self.tell(message, EventType::Clicked, follower, json!({"url": url})).await,
            Ok(None) => Followed::Refused,
            Err(_) => Followed::Unknown,
        }
    }

    /// The message of a link that may be followed where it was.
    async fn linked_by(
        &self,
        follower: &Follower,
        open: impl Fn(&Ring) -> Option<Linked>,
    ) -> Result<Option<MessageId>, StoreError> {
        let Some(linked) = self.opened_by(open).await? else { return Ok(None) };
        Ok(self.is_at_home(&follower.host, linked).await?.then_some(linked.message))
    }

    /// What the keys make of a token: those that are known, or else those that there are now.
    async fn opened_by<T>(&self, open: impl Fn(&Ring) -> Option<T>) -> Result<Option<T>, StoreError> {
        // Those that are known serve without a question.
        if let Some(found) = self.tokens.known().and_then(|ring| open(&ring)) {
            return Ok(Some(found));
        }
        match open(&*self.tokens.ring().await?) {
            Some(found) => Ok(Some(found)),
            None => Ok(open(&*self.tokens.ring_anew().await?)),
        }
    }

    async fn tell(&self, message: MessageId, event_type: EventType, follower: &Follower, mut data: Value) -> Followed {
        if self.often.has(message, event_type) {
            return Followed::Taken;
        }
        let turn = tokio::time::timeout(BOOKS, self.recorders.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Followed::Missed };
        let agent: String = follower.agent.chars().filter(|c| !c.is_control()).take(AGENT_MAX).collect();
        data["machine"] = json!(machine(follower));
        data["user_agent"] = json!(agent);
        // Whoever follows it does not wait for our books.
        let put = self.store.put_engagement(message, event_type, &data, &*self.rng);
        match tokio::time::timeout(BOOKS, put).await {
            Ok(Ok(true)) => {
                self.events.ring(message.shard());
                Followed::Taken
            }
            Ok(Ok(false)) => {
                self.often.add(message, event_type);
                Followed::Taken
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "what a link says was missed");
                Followed::Missed
            }
            Err(_) => Followed::Missed,
        }
    }
}

/// Why it was no person who followed a link, in one word; `None`: it may have been.
fn machine(follower: &Follower) -> Option<&'static str> {
    let agent = follower.agent.trim().to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    if follower.is_prefetch || agent == "mozilla/5.0" {
        // Apple's Mail Privacy Protection calls itself so, and loads every image of every message.
        return Some("prefetch");
    }
    if has(&["googleimageproxy", "yahoomailproxy", "yahoocachesystem"]) {
        return Some("proxy");
    }
    let scanners = [
        "bot",
        "crawl",
        "spider",
        "scan",
        "preview",
        "barracuda",
        "proofpoint",
        "mimecast",
        "safelinks",
        "headless",
        "python",
        "curl/",
        "wget/",
        "okhttp",
        "go-http-client",
        "java/",
        "libwww",
        "httpclient",
        "facebookexternalhit",
        "slurp",
        "validator",
        "monitor",
    ];
    (agent.is_empty() || has(&scanners)).then_some("scanner")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_from_people() {
        let follower =
            |agent: &str, is_prefetch| Follower { agent: agent.to_owned(), is_prefetch, ..Follower::default() };
        for (agent, is_prefetch, expected) in [
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140 Safari/537.36", false, None),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15", false, None),
            ("Mozilla/5.0", false, Some("prefetch")),
            (
                "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
                false,
                Some("proxy"),
            ),
            ("Mozilla/5.0 (compatible; bingbot/2.0)", false, Some("scanner")),
            ("", false, Some("scanner")),
            ("Mozilla/5.0 (X11; Linux) Firefox/130", true, Some("prefetch")),
        ] {
            assert_eq!(machine(&follower(agent, is_prefetch)), expected, "{agent}");
        }
    }
}
