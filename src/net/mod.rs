//! The edge to the network: names to addresses, which certificates to trust, small documents over HTTPS. Shared by
//! routing, delivering, webhooks and commands; it decides nothing about mail.

pub(crate) mod connect;
mod dane;
pub mod dns;
pub(crate) mod dns_error;
mod exchange;
pub(crate) mod fetch;
mod handshake;
pub(crate) mod http;
pub mod lists;
mod name;
pub(crate) mod own;
pub(crate) mod server_tls;
pub mod tls;
pub mod validated;
pub(crate) mod vantage;

use ipnet::IpNet;

use crate::config::Net;
use crate::domain::net::NetPolicy;

/// The rule by which addresses that others name are judged.
pub fn policy(config: &Net) -> NetPolicy {
    let both = |more: &[IpNet]| [&config.allow_private.0, more].concat();
    NetPolicy {
        mail: both(&config.allow_private_mail.0),
        web: both(&config.allow_private_web.0),
        deny: config.deny.0.clone(),
        web_ports: config.web_ports.0.clone(),
    }
}
