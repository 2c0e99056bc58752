//! What is to be published for a domain.

use crate::compose::dkim::SigningKey;
use crate::config::Config;
use crate::domain::dkim::Algorithm;
use crate::domain::id::DomainId;
use crate::domain::sending_domain::export::quoted;
use crate::domain::sending_domain::key_record::KeyRecord;
use crate::domain::sending_domain::record::Expected;
use crate::domain::sending_domain::{KeySlot, Purpose, RecordType, WantedRecord};
use crate::store::accounts::dkim_keys::{FoundDkimKey, StoredDkimKey};
use crate::store::accounts::domains::StoredDomain;

/// Selectors of a delegated domain: three places, so that a key can be retired while another signs and a third one waits.
pub const PLACES: [&str; 3] = ["mw1", "mw2", "mw3"];

/// Names of this installation that records lead to; empty ones are not there.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// What takes reports.
    pub inbound: String,
    /// The zone of delegated keys.
    pub dkim_zone: String,
    /// Where aggregate reports go.
    pub reports_to: String,
    /// Where links lead, if domains have hosts of their own for that.
    pub links: String,
}

impl Hosts {
    pub fn of(config: &Config) -> Self {
        let inbound = config.inbound.host.clone();
        let reports_to = match config.domains.reports_to.as_str() {
            "" if inbound.is_empty() => String::new(),
            "" => format!("dmarc@{inbound}"),
            address => address.to_owned(),
        };
        let public = config.http.public_url.strip_prefix("https://").filter(|_| config.domains.link_hosts);
        let links = public.and_then(|host| host.split(':').next()).unwrap_or_default().to_owned();
        Self { inbound, dkim_zone: config.domains.dkim_zone.clone(), reports_to, links }
    }

    /// The name in our zone that a delegated selector is an alias of.
    pub fn delegate(&self, domain: DomainId, selector: &str) -> String {
        format!("{selector}.{}.{}", domain.uuid().simple(), self.dkim_zone)
    }
}

/// The name that verifiers ask for a key.
pub fn key_host(key: &StoredDkimKey, domain: &str) -> String {
    format!("{}._domainkey.{domain}", key.selector)
}

/// The records of a domain, required ones first. Keys that signed once stay published, and are not asked for.
pub fn wanted(domain: &StoredDomain, keys: &[StoredDkimKey], hosts: &Hosts) -> Vec<WantedRecord> {
    let usable = || keys.iter().filter(|key| key.slot() != KeySlot::Retired);
    let signing = || usable().filter(|key| key.slot() == KeySlot::Signing);
    let is_rsa = |key: &StoredDkimKey| key.algorithm == Algorithm::RsaSha256;
    let has_rsa = if signing().next().is_some() { signing().any(is_rsa) } else { usable().any(is_rsa) };
    let needed = if has_rsa { Algorithm::RsaSha256 } else { Algorithm::Ed25519Sha256 };
    let signs = signing().any(|key| key.algorithm == needed);
    let mut records: Vec<_> = usable()
        .filter_map(|key| {
            let text = key_text(key, &domain.name)?;
            let (record_type, value) = if domain.is_delegated {
                (RecordType::Cname, hosts.delegate(domain.id, &key.selector))
            } else {
                (RecordType::Txt, text.clone())
            };
            Some(WantedRecord {
                purpose: Purpose::Dkim,
                host: key_host(key, &domain.name),
                record_type,
                value,
                is_required: key.algorithm == needed && (key.slot() == KeySlot::Signing || !signs),
                expected: Expected::Key(KeyRecord::read(&text)?),
            })
        })
        .collect();
    let alias = |purpose, host: String, value: String| WantedRecord {
        purpose,
        host,
        record_type: RecordType::Cname,
        expected: Expected::Host(value.clone()),
        value,
        is_required: false,
    };
    if domain.is_delegated {
        for place in PLACES.into_iter().filter(|place| !usable().any(|key| key.selector == *place)) {
            let host = format!("{place}._domainkey.{}", domain.name);
            records.push(alias(Purpose::Dkim, host, hosts.delegate(domain.id, place)));
        }
    }
    if !hosts.inbound.is_empty() {
        let host = format!("{}.{}", domain.return_path_label, domain.name);
        records.push(alias(Purpose::ReturnPath, host, hosts.inbound.clone()));
    }
    if !hosts.links.is_empty() {
        let host = format!("{}.{}", domain.link_label, domain.name);
        records.push(alias(Purpose::Tracking, host, hosts.links.clone()));
    }
    // A policy of the organization covers it.
    let is_covered =
        domain.dmarc.as_ref().and_then(|dmarc| dmarc["found_at"].as_str()).is_some_and(|at| at != domain.name);
    if !is_covered {
        let reports =
            if hosts.reports_to.is_empty() { String::new() } else { format!("; rua=mailto:{}", hosts.reports_to) };
        records.push(WantedRecord {
            purpose: Purpose::Dmarc,
            host: format!("_dmarc.{}", domain.name),
            record_type: RecordType::Txt,
            value: format!("v=DMARC1; p={}{reports}", advised(domain)),
            is_required: false,
            expected: Expected::Policy,
        });
    }
    records.sort_by_key(|record| !record.is_required);
    records
}

/// The policy that reports of receivers bear; `none` before there are any.
fn advised(domain: &StoredDomain) -> &str {
    // Reports are others' words: the last step is a person's.
    match domain.dmarc.as_ref().and_then(|dmarc| dmarc["advice"]["policy"].as_str()) {
        Some("quarantine" | "reject") => "quarantine",
        _ => "none",
    }
}

/// The text of a key's record; `None` for a key that cannot be read.
fn key_text(key: &StoredDkimKey, domain: &str) -> Option<String> {
    let parsed = SigningKey::parse(domain, &key.selector, key.algorithm, &key.private_key);
    parsed.and_then(|key| key.record()).ok()
}

/// The line of a delegated key in a zone file (RFC 1035 §5).
pub fn zone_line(domain: DomainId, key: &FoundDkimKey) -> Result<String, String> {
    let parsed = SigningKey::parse(&key.domain, &key.selector, key.algorithm, &key.private_key);
    let record = parsed.and_then(|key| key.record()).map_err(|error| error.to_string())?;
    Ok(format!("{}.{}\tIN\tTXT\t{} ; {}", key.selector, domain.uuid().simple(), quoted(&record), key.domain))
}
