//! A route in a form that people and programs can read.

use serde_json::{Value, json};

use super::dane::Dane;
use super::router::Routed;

/// Route, hosts in the order in which they are tried, addresses, and the TLS policy with its reason.
pub fn describe(routed: &Routed) -> Value {
    let peers: Vec<_> = routed
        .peers
        .iter()
        .map(|peer| {
            json!({
                "host": peer.host,
                "address": peer.address.to_string(),
                "preference": peer.preference,
                "tls": peer.tls.name(),
                "tls_asked_by": peer.basis.name(),
            })
        })
        .collect();
    let dns = routed.resolution.as_deref().map(|resolution| {
        let hosts = resolution.hosts.iter().map(|host| {
            let dane = match &host.dane {
                Dane::None => "none",
                Dane::Unusable => "unusable records: TLS is mandatory",
                Dane::Records(_) => "records",
            };
            json!({ "host": host.name, "preference": host.preference, "addresses": host.addresses, "dane": dane })
        });
        let unusable = resolution.unusable.iter().map(|(host, why)| json!({ "host": host, "why": why }));
        json!({
            "mx": hosts.collect::<Vec<_>>(),
            "unusable": unusable.collect::<Vec<_>>(),
            "mta_sts": resolution.sts.policy.as_ref().map(|policy| json!({
                "mode": policy.mode.name(), "mx": policy.mx, "max_age_seconds": policy.max_age.as_secs() })),
            "mta_sts_trouble": resolution.sts.trouble,
        })
    });
    json!({
        "route": routed.route,
        "next_hop": routed.group,
        "provider": routed.provider,
        "ip_pool": routed.pool,
        "peers": peers,
        "dns": dns,
    })
}
