//! Whose host a link was followed at. A link leads on in the name of the host that it was followed at: at a domain's own, those of its project alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Intake;
use crate::compose::links::Linked;
use crate::domain::id::ProjectId;
use crate::store::StoreError;

/// How long it is believed whose a host is; while the store is away, as long as that lasts.
const BELIEVED: Duration = Duration::from_mins(1);
/// Hosts of which it is known: strangers name what they like.
const KNOWN_MAX: usize = 10_000;
/// Longest name of a host, in octets (RFC 1035 §2.3.4).
const HOST_MAX: usize = 253;

/// What is known of hosts: whose each is, if it is a project's.
pub struct LinkHosts {
    /// The one that is everybody's; empty: there is none.
    public: String,
    known: Mutex<HashMap<String, (Option<ProjectId>, Instant)>>,
}

impl LinkHosts {
    /// Hosts beside that of the service's public URL.
    pub fn new(public_url: &str) -> Self {
        let authority = public_url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
        Self { public: name_of(authority), known: Mutex::default() }
    }

    fn known(&self, host: &str) -> Option<(Option<ProjectId>, Instant)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied()
    }

    fn learn(&self, host: String, owner: Option<ProjectId>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(host, (owner, Instant::now()));
    }
}

impl Intake {
    /// Whether a link may be followed at that host, as a client named it.
    pub(super) async fn is_at_home(&self, host: &str, linked: Linked) -> Result<bool, StoreError> {
        let Some(owner) = self.owner_of(host).await? else { return Ok(true) };
        let project = match linked.project {
            Some(project) => Some(project),
            None => self.store.attribute(linked.message, Some(0), &[]).await?.pop().map(|about| about.project),
        };
        Ok(project == Some(owner))
    }

    /// The project whose links lead to a host; `None`: it is everybody's.
    async fn owner_of(&self, host: &str) -> Result<Option<ProjectId>, StoreError> {
        let host = name_of(host);
        if host == self.hosts.public || !host.contains('.') || host.len() > HOST_MAX {
            return Ok(None);
        }
        let known = self.hosts.known(&host);
        if let Some((owner, since)) = known
            && since.elapsed() < BELIEVED
        {
            return Ok(owner);
        }
        match (self.store.find_link_host(&host).await, known) {
            (Ok(owner), _) => {
                self.hosts.learn(host, owner);
                Ok(owner)
            }
            (Err(_), Some((owner, _))) => Ok(owner),
            (Err(error), None) => Err(error),
        }
    }
}

/// The name of a host that may have a port (RFC 9110 §7.2).
fn name_of(authority: &str) -> String {
    let with_port = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    with_port.map_or(authority, |(name, _)| name).trim_end_matches('.').to_ascii_lowercase()
}
