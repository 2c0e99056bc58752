//! Reports that we send: of each day's TLS sessions, to the domains that ask for them (RFC 8460). To a mailbox they go through the one
//! door like any mail, from an address in a domain that one of the projects has proved, once for each domain and day; to a URL they are
//! posted.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::StreamExt;
use futures_util::stream;
use time::Date;

use crate::compose::tls_report::{Destination, TlsReport, wanted_at};
use crate::compose::token::base32;
use crate::domain::access::{Caller, Mode};
use crate::domain::address::{Address, NamedAddress};
use crate::domain::clock::{Clock, Rng};
use crate::domain::draft::{Content, Options, Priority, RawDraft, RawParts, Recipients};
use crate::domain::id::ProjectId;
use crate::domain::tls_result::{TlsResult, TlsSessions};
use crate::net::dns::Resolver;
use crate::net::dns_error::DnsError;
use crate::net::fetch::post;
use crate::net::tls::TlsConfigs;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use crate::submit::{Door, Refusal, RequestKey, Submission, SubmitError};

/// How often it is asked whether somebody is to be told.
const EVERY: Duration = Duration::from_mins(10);
/// Domains that one process takes at a time.
const TAKEN: i64 = 50;
/// Domains that are asked at once.
const AT_ONCE: usize = 8;
/// Deadline of a report that is posted.
const POST: Duration = Duration::from_secs(30);
/// How often a domain is asked that does not answer.
const TRIES: i32 = 5;
/// A day is over when its last sessions are counted.
const GRACE: time::Duration = time::Duration::minutes(30);

/// What sends reports.
pub struct Reporting {
    pub store: Store,
    pub door: Arc<Door>,
    pub resolver: Resolver,
    pub tls: TlsConfigs,
    /// An address in a verified domain of one of the projects.
    pub from: Address,
    pub organization: String,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
}

/// Why a domain is told later.
#[derive(Debug, thiserror::Error)]
pub enum Later {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Dns(DnsError),
    #[error("{0}")]
    Door(SubmitError),
    #[error("{0}: {1}")]
    Post(String, String),
}

impl Reporting {
    /// Sends reports until the service stops.
    pub async fn run(self, shutdown: Shutdown) {
        while shutdown.pause(self.rng.jitter(EVERY, 0.5)).await {
            loop {
                let Some(told) = shutdown.soft.run_until_cancelled(Box::pin(self.report())).await else { return };
                match told {
                    // There are more.
                    Ok(count) if count as u64 == TAKEN.unsigned_abs() && !shutdown.soft.is_cancelled() => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(%error, "reports of TLS sessions are sent later");
                        break;
                    }
                }
            }
        }
    }

    /// Tells domains of yesterday, some at a time; how many were looked at.
    pub async fn report(&self) -> Result<usize, Later> {
        let from = &self.from;
        let Some((project, _)) = self.store.find_owner(from.domain()).await? else {
            tracing::warn!(domain = from.domain(), "tls_reports.from is in no verified domain: no report is sent");
            return Ok(0);
        };
        let now = self.clock.now();
        let Some(day) = (now - GRACE).date().previous_day() else { return Ok(0) };
        self.store.give_up_tls_domains(day, TRIES).await?;
        let domains = self.store.take_tls_domains(day, TAKEN).await?;
        let count = domains.len();
        let tell = |domain: String| async move { self.look_after((project, from), &domain, day).await };
        stream::iter(domains).for_each_concurrent(AT_ONCE, tell).await;
        Ok(count)
    }

    async fn look_after(&self, whose: (ProjectId, &Address), domain: &str, day: Date) {
        let told = async {
            let (outcome, sent_to) = self.tell(whose, domain, day).await?;
            self.store.finish_tls_domain(day, domain, (outcome, &sent_to)).await.map_err(Later::Store)
        };
        // It is taken again in an hour.
        if let Err(error) = told.await {
            tracing::debug!(domain, %error, "a report of TLS sessions is sent later");
        }
    }

    async fn tell(
        &self,
        (project, from): (ProjectId, &Address),
        domain: &str,
        day: Date,
    ) -> Result<(&'static str, Vec<String>), Later> {
        let texts = match self.resolver.texts(&format!("_smtp._tls.{domain}")).await {
            Ok(texts) => texts,
            Err(DnsError::NoName(_) | DnsError::NoRecords(_)) => return Ok(("not_asked", Vec::new())),
            Err(error) => return Err(Later::Dns(error)),
        };
        let destinations = wanted_at(&texts).unwrap_or_default();
        if destinations.is_empty() {
            return Ok(("not_asked", Vec::new()));
        }
        let mut sessions = self.store.list_tls_counts(day, domain).await?;
        without_own(&mut sessions, self.store.count_tls_reports_to(day, domain).await?);
        if sessions.is_empty() {
            return Ok(("not_asked", Vec::new()));
        }
        let (mut sent_to, mut is_taken, mut away) = (Vec::new(), false, None);
        for to in &destinations {
            let named = format!("{domain} {day} {}", to.text());
            let mut fingerprint = [0; 32];
            fingerprint.copy_from_slice(digest(&SHA256, named.as_bytes()).as_ref());
            let id = base32(&fingerprint[..12]);
            let (organization, sessions, now) = (self.organization.as_str(), &sessions[..], self.clock.now());
            let report = TlsReport { from, organization, domain, day, id: &id, sessions, now };
            match to {
                Destination::Mailbox(mailbox) => match self.send(project, &report, mailbox, fingerprint).await {
                    Err(later) => away = Some(later),
                    Ok(None) => {
                        is_taken = true;
                        sent_to.push(mailbox.domain().to_owned());
                    }
                    Ok(Some(refused)) => tracing::warn!(domain, refused, "a report of TLS sessions cannot be sent"),
                },
                Destination::Url(url) => {
                    let document = ("application/tlsrpt+gzip", report.packed());
                    match post(&self.resolver, &self.tls, url, document, POST).await {
                        Ok(()) => is_taken = true,
                        Err(why) => away = Some(Later::Post(to.text(), why)),
                    }
                }
            }
        }
        match away {
            // One place that took it is enough: the other would get it twice.
            Some(away) if !is_taken => Err(away),
            _ => Ok((if is_taken { "sent" } else { "refused" }, sent_to)),
        }
    }

    /// Sends one to a mailbox, once: its key is the domain, the day and the mailbox. Gives why it was refused.
    async fn send(
        &self,
        project: ProjectId,
        report: &TlsReport<'_>,
        to: &Address,
        fingerprint: [u8; 32],
    ) -> Result<Option<String>, Later> {
        let (from, id) = (report.from, report.id);
        let alone = NamedAddress { name: None, address: to.clone() };
        let parts = RawParts {
            senders: Vec::new(),
            from: NamedAddress { name: None, address: from.clone() },
            reverse_path: None,
            recipients: Recipients::only(alone, 0).distinct(),
            subject: report.subject(),
            message_id: Some(format!("{id}@{}", from.domain())),
            bytes: Arc::new(report.write(to)),
            options: Options { priority: Priority::Low, ..Options::default() },
        };
        let Ok(raw) = RawDraft::new(parts, 1) else { return Ok(Some("it cannot be written".to_owned())) };
        let key = RequestKey { key: format!("tlsrpt:{id}"), fingerprint };
        let caller = Caller::of_schedule(project, Mode::Live);
        match self.door.accept(&caller, Submission::one(Content::Raw(Box::new(raw)), Some(key))).await {
            Ok(_) => Ok(None),
            // The domain that reports come from may be right again soon.
            Err(error @ SubmitError::Refused(_, Refusal::UnverifiedDomain(_))) => Err(Later::Door(error)),
            Err(SubmitError::Refused(_, refusal)) => Ok(Some(refusal.to_string())),
            Err(error) => Err(Later::Door(error)),
        }
    }
}

/// Takes sessions of our own reports out of what is told: else each report would be a reason for the next.
fn without_own(sessions: &mut Vec<TlsSessions>, mut own: u64) {
    for one in sessions.iter_mut().filter(|one| one.result == TlsResult::Successful) {
        let taken = one.sessions.min(own);
        one.sessions -= taken;
        own -= taken;
    }
    sessions.retain(|one| one.sessions > 0);
}
