//! Names to addresses, by hickory. Answers are judged by [`NetPolicy`] before anyone connects to them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::config::Dns;
use crate::domain::net::NetPolicy;

/// Why a name gave no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN): no retry will help soon.
    #[error("{0} does not exist")]
    NoName(String),
    /// The name exists without the records that were asked for.
    #[error("{0} has no address")]
    NoRecords(String),
    /// Addresses were found, and none may be connected to.
    #[error("{0} has private or reserved addresses only, which net.allow_private does not list")]
    Forbidden(String),
    /// RFC 7505: the domain says that it takes no mail.
    #[error("{0} takes no mail (null MX)")]
    NullMx(String),
    /// SERVFAIL, a timeout, no name server: it may pass.
    #[error("{0}: {1}")]
    Temporary(String, String),
}

/// A mail exchanger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanger {
    pub preference: u16,
    pub host: String,
}

/// The resolver of the process, with its cache.
#[derive(Clone)]
pub struct Resolver {
    resolver: TokioResolver,
    policy: NetPolicy,
}

impl Resolver {
    pub fn new(config: &Dns, policy: NetPolicy) -> Result<Self, String> {
        let failed = |error: NetError| format!("dns: {error}");
        let mut builder = if config.servers.0.is_empty() {
            TokioResolver::builder_tokio().map_err(failed)?
        } else {
            let servers = config.servers.0.iter().map(name_server).collect();
            let servers = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = config.timeout.0;
        options.attempts = 2;
        options.negative_max_ttl = Some(Duration::from_mins(1));
        Ok(Self { resolver: builder.build().map_err(failed)?, policy })
    }

    /// The exchangers of a domain in the order of preference. A domain without MX records is its own
    /// exchanger (RFC 5321 §5.1).
    pub async fn exchangers(&self, domain: &str) -> Result<Vec<Exchanger>, DnsError> {
        let lookup = match self.resolver.mx_lookup(absolute(domain)).await {
            Ok(lookup) => lookup,
            Err(error) if error.is_nx_domain() => return Err(DnsError::NoName(domain.to_owned())),
            Err(error) if error.is_no_records_found() => {
                return Ok(vec![Exchanger { preference: 0, host: domain.to_owned() }]);
            }
            Err(error) => return Err(temporary(domain, &error)),
        };
        let mut exchangers: Vec<_> = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::MX(mx) => Some(Exchanger {
                    preference: mx.preference,
                    host: mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
                }),
                _ => None,
            })
            .collect();
        exchangers.sort_by_key(|mx| mx.preference);
        match exchangers.as_slice() {
            [] => Ok(vec![Exchanger { preference: 0, host: domain.to_owned() }]),
            [only] if only.host.is_empty() => Err(DnsError::NullMx(domain.to_owned())),
            _ => Ok(exchangers),
        }
    }

    /// The addresses of a host that may be connected to. A literal address is judged as well.
    pub async fn permitted(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let found = self.any(host).await?;
        let permitted: Vec<_> = found.into_iter().filter(|ip| self.policy.permits(*ip)).collect();
        if permitted.is_empty() { Err(DnsError::Forbidden(host.to_owned())) } else { Ok(permitted) }
    }

    /// The addresses of a host that the operator named, whatever they are.
    pub async fn any(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        if let Ok(literal) = host.trim_matches(['[', ']']).parse() {
            return Ok(vec![literal]);
        }
        match self.resolver.lookup_ip(absolute(host)).await {
            Ok(lookup) => Ok(lookup.iter().collect()),
            Err(error) if error.is_nx_domain() => Err(DnsError::NoName(host.to_owned())),
            Err(error) if error.is_no_records_found() => Err(DnsError::NoRecords(host.to_owned())),
            Err(error) => Err(temporary(host, &error)),
        }
    }
}

fn temporary(name: &str, error: &NetError) -> DnsError {
    DnsError::Temporary(name.to_owned(), error.to_string())
}

/// With a dot at the end, so that no search list is tried. `localhost` is left to the hosts file.
fn absolute(name: &str) -> String {
    if name.ends_with('.') || !name.contains('.') { name.to_owned() } else { format!("{name}.") }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}
