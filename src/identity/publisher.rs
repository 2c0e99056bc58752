//! Records of the operator's own domains, published by the DNS provider's API: what the zone's own server says is not there is put
//! there. What is there is never changed, and nothing is taken away: whoever publishes something else had a reason.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::DnsAccount;
use crate::domain::address::is_within;
use crate::domain::sending_domain::{Purpose, Sighting, Told, Vantage, WantedRecord};
use crate::store::{Store, StoreError};

use super::DomainInFull;

/// Longest time for what is missing of one domain.
const DEADLINE: Duration = Duration::from_secs(30);

/// Accounts with providers, and the zones that they are for.
pub struct Publisher {
    accounts: Vec<DnsAccount>,
}

/// What became of a record that was not there.
#[derive(Debug)]
pub struct Published {
    pub host: String,
    /// The error is the provider's, in words.
    pub result: Result<(), String>,
}

impl Publisher {
    pub const fn new(accounts: Vec<DnsAccount>) -> Self {
        Self { accounts }
    }

    pub const fn has_accounts(&self) -> bool {
        !self.accounts.is_empty()
    }

    /// Publishes what was missing of a domain when it was looked at last; nothing unless an account is for it and its project. What would
    /// come after a provider that does not answer waits for the next look.
    pub async fn publish_missing(&self, store: &Store, found: &DomainInFull) -> Result<Vec<Published>, StoreError> {
        let missing: Vec<_> = found.records.iter().filter(|record| is_missing(found, record)).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let Some((account, zone)) = self.account_of(store, found).await? else { return Ok(Vec::new()) };
        let mut published = Vec::with_capacity(missing.len());
        let until = Instant::now() + DEADLINE;
        for record in missing {
            let put = tokio::time::timeout_at(until, provider::publish(account, zone, record)).await;
            let is_over = put.is_err();
            let result = put.unwrap_or_else(|_| Err("no answer within the deadline".to_owned()));
            published.push(Published { host: record.host.clone(), result });
            if is_over {
                break;
            }
        }
        Ok(published)
    }

    /// The account whose zone is the closest at or above the domain, among those for its project.
    async fn account_of(&self, store: &Store, found: &DomainInFull) -> Result<Option<(&DnsAccount, &str)>, StoreError> {
        let mut best: Option<(&DnsAccount, &str)> = None;
        for account in &self.accounts {
            let zones = account.zones.iter().map(String::as_str);
            let Some(zone) = zones.filter(|zone| is_within(&found.domain.name, zone)).max_by_key(|zone| zone.len())
            else {
                continue;
            };
            if best.is_some_and(|(_, other)| zone.len() <= other.len()) {
                continue;
            }
            match store.find_project(&account.project).await? {
                Some(project) if project == found.domain.project => best = Some((account, zone)),
                Some(_) => {}
                None => tracing::warn!(project = account.project, "domains.publish names a project that is not there"),
            }
        }
        Ok(best)
    }
}

/// Whether the zone's own server said, when it was asked last, that there is nothing. That a policy is wanted at all must be known: one of
/// the organization may cover the domain.
fn is_missing(found: &DomainInFull, record: &WantedRecord) -> bool {
    if record.purpose == Purpose::Dmarc && found.domain.dmarc.is_none() {
        return false;
    }
    let Some(check) = found.domain.standing.check_of(&record.host) else { return false };
    let of_zone = |sighting: &&Sighting| sighting.vantage == Vantage::Authoritative;
    let mut of_zone = check.sightings.iter().filter(of_zone).peekable();
    of_zone.peek().is_some() && of_zone.all(|sighting| sighting.told == Told::Absent)
}

#[cfg(feature = "dns-publishing")]
mod provider {
    use std::time::Duration;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use dns_update::providers::route53::Route53Config;
    use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, TsigAlgorithm};

    use crate::config::{DnsAccount, DnsProvider};
    use crate::domain::sending_domain::{RecordType, WantedRecord};

    /// Longest wait for one answer of a provider.
    const DEADLINE: Duration = Duration::from_secs(20);
    /// Seconds for which a record may be remembered: the least that the free plans of `AliDNS` and `DNSPod` have.
    const TTL: u32 = 600;

    /// Puts one record there.
    pub async fn publish(account: &DnsAccount, zone: &str, record: &WantedRecord) -> Result<(), String> {
        let (account, zone, record) = (account.clone(), zone.to_owned(), record.clone());
        // A task of its own: the library's clients panic where the system has no certificates.
        let put = tokio::spawn(async move { put(&account, &zone, &record).await });
        put.await.unwrap_or_else(|_| Err("the provider's client broke off: has the system CA certificates?".to_owned()))
    }

    async fn put(account: &DnsAccount, zone: &str, record: &WantedRecord) -> Result<(), String> {
        let updater = updater(account).map_err(|error| error.to_string())?;
        let (kind, value) = match record.record_type {
            RecordType::Txt => (DnsRecordType::TXT, DnsRecord::TXT(record.value.clone())),
            RecordType::Cname => (DnsRecordType::CNAME, DnsRecord::CNAME(record.value.clone())),
        };
        let put = updater.add_to_rrset(record.host.as_str(), kind, TTL, vec![value], zone);
        put.await.map_err(|error| error.to_string())
    }

    fn updater(account: &DnsAccount) -> dns_update::Result<DnsUpdater> {
        let DnsAccount { key, secret, server, .. } = account;
        let (none, deadline) = (None::<&str>, Some(DEADLINE));
        match account.provider {
            DnsProvider::Alidns => DnsUpdater::new_alidns(key, secret, none, none, none, deadline),
            DnsProvider::Cloudflare => DnsUpdater::new_cloudflare(secret, deadline),
            DnsProvider::Digitalocean => DnsUpdater::new_digitalocean(secret, deadline),
            DnsProvider::Dnspod => DnsUpdater::new_tencentcloud(key, secret, none, none, deadline),
            DnsProvider::Rfc2136 => {
                let wrong = |error: base64::DecodeError| dns_update::Error::Parse(format!("secret: {error}"));
                let secret = STANDARD.decode(secret.trim()).map_err(wrong)?;
                DnsUpdater::new_rfc2136_tsig(server.as_str(), key, secret, TsigAlgorithm::HmacSha256)
            }
            DnsProvider::Route53 => DnsUpdater::new_route53(Route53Config {
                access_key_id: key.clone(),
                secret_access_key: secret.clone(),
                session_token: None,
                region: None,
                // The library would choose among all zones of the account, private ones too.
                hosted_zone_id: Some(account.zone_id.clone()),
                private_zone_only: None,
                endpoint: Some(server.clone()).filter(|server| !server.is_empty()),
            }),
        }
    }
}

#[cfg(not(feature = "dns-publishing"))]
mod provider {
    use std::future::{Ready, ready};

    use crate::config::DnsAccount;
    use crate::domain::sending_domain::WantedRecord;

    /// The configuration of such a binary has no accounts.
    pub fn publish(_account: &DnsAccount, _zone: &str, _record: &WantedRecord) -> Ready<Result<(), String>> {
        ready(Err("this binary is built without dns-publishing".to_owned()))
    }
}
