//! A route in a form that people and programs can read.

use std::net::IpAddr;

use serde::Serialize;

use super::dane::Dane;
use super::resolve::{Host, Resolution};
use super::router::RoutePlan;
use super::sts::Policy;
use crate::domain::target::Target;

/// Route, hosts in the order in which they are tried, addresses, and the TLS policy with its reason.
#[derive(Debug, Serialize)]
pub struct RouteView {
    route: String,
    next_hop: String,
    provider: Option<String>,
    ip_pool: String,
    peers: Vec<PeerView>,
    /// `None` through smarthosts.
    dns: Option<DnsView>,
}

/// One address of one host.
#[derive(Debug, Serialize)]
struct PeerView {
    host: String,
    address: String,
    preference: u16,
    tls: &'static str,
    tls_asked_by: &'static str,
}

/// What the DNS said of the recipient's domain.
#[derive(Debug, Serialize)]
struct DnsView {
    mx: Vec<HostView>,
    unusable: Vec<UnusableHostView>,
    mta_sts: Option<StsPolicyView>,
    mta_sts_trouble: Option<String>,
}

#[derive(Debug, Serialize)]
struct HostView {
    host: String,
    preference: u16,
    addresses: Vec<IpAddr>,
    dane: &'static str,
}

#[derive(Debug, Serialize)]
struct UnusableHostView {
    host: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct StsPolicyView {
    mode: &'static str,
    mx: Vec<String>,
    max_age_seconds: u64,
}

impl RouteView {
    pub fn of(routed: &RoutePlan) -> Self {
        Self {
            route: routed.route.clone(),
            next_hop: routed.group.clone(),
            provider: routed.provider.clone(),
            ip_pool: routed.pool.clone(),
            peers: routed.targets.iter().map(|target| PeerView::of(target)).collect(),
            dns: routed.resolution.as_deref().map(DnsView::of),
        }
    }
}

impl PeerView {
    fn of(target: &Target) -> Self {
        Self {
            host: target.host.clone(),
            address: target.address.to_string(),
            preference: target.preference,
            tls: target.tls.name(),
            tls_asked_by: target.basis.name(),
        }
    }
}

impl DnsView {
    fn of(resolution: &Resolution) -> Self {
        let unusable = |(host, why): &(String, String)| UnusableHostView { host: host.clone(), why: why.clone() };
        Self {
            mx: resolution.hosts.iter().map(HostView::of).collect(),
            unusable: resolution.unusable.iter().map(unusable).collect(),
            mta_sts: resolution.sts.policy.as_deref().map(StsPolicyView::of),
            mta_sts_trouble: resolution.sts.trouble.clone(),
        }
    }
}

impl HostView {
    fn of(host: &Host) -> Self {
        Self {
            host: host.name.clone(),
            preference: host.preference,
            addresses: host.addresses.clone(),
            dane: match &host.dane {
                Dane::None => "none",
                Dane::Unusable => "unusable records: TLS is mandatory",
                Dane::Records(_) => "records",
            },
        }
    }
}

impl StsPolicyView {
    fn of(policy: &Policy) -> Self {
        Self { mode: policy.mode.name(), mx: policy.mx.clone(), max_age_seconds: policy.max_age.as_secs() }
    }
}
