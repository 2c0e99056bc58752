//! An account with a DNS provider, by which records are published for the operator's own domains.

use serde::{Deserialize, Serialize};

/// Which provider it is, and which domains it is for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsAccount {
    /// Project, by name or id, whose domains are published: others could prove names in these zones by it.
    pub project: String,
    pub zones: Vec<String>,
    pub provider: DnsProvider,
    /// Id of the access key; the name of the TSIG key. Not for providers that have tokens alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The token, or the secret of the key; of a TSIG key in base64.
    pub secret: String,
    /// `tcp://ip:port` or `udp://ip:port` of the primary server for `rfc2136`; another endpoint for `route53`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
}

/// Providers that records are published by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsProvider {
    /// Alibaba Cloud DNS.
    Alidns,
    Cloudflare,
    Digitalocean,
    /// Tencent Cloud.
    Dnspod,
    /// Dynamic updates with TSIG, by HMAC-SHA256.
    Rfc2136,
    Route53,
}

impl DnsAccount {
    /// What is wrong with it, if anything is.
    pub fn fault(&self) -> Option<&'static str> {
        let has_key = !matches!(self.provider, DnsProvider::Cloudflare | DnsProvider::Digitalocean);
        match () {
            () if self.zones.is_empty() => Some("zones must name one at least"),
            () if has_key && self.key.is_empty() => Some("key must be given for this provider"),
            () if self.secret.is_empty() => Some("secret must be given"),
            () if self.provider == DnsProvider::Rfc2136 && self.server.is_empty() => Some("server must be given"),
            () => None,
        }
    }
}

impl std::fmt::Debug for DnsAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {} for {}", self.provider, self.project, self.zones.join(", "))
    }
}
