//! Names to addresses, by hickory. Answers are judged by [`NetPolicy`] before anyone connects to them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Name, RData, Record};

use super::dns_error::DnsError;
use super::name::{name_of, text_of};
use super::own::is_own;
use super::validated::Validated;
use crate::config::Dns;
use crate::domain::net::{NetPolicy, NetUse};

/// A mail exchanger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanger {
    pub preference: u16,
    pub host: String,
}

/// The resolver of the process, with its cache.
#[derive(Clone)]
#[expect(clippy::struct_field_names, reason = "the library's resolver")]
pub struct Resolver {
    resolver: TokioResolver,
    policy: NetPolicy,
    /// Where validated answers come from; `None` when no resolver is trusted with that.
    validated: Option<Validated>,
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
        let validated = config.trust_ad.then(|| Validated { servers: servers(config), timeout: config.timeout.0 });
        let options = builder.options_mut();
        // Mail from an IPv6 address is judged more strictly: it is the second choice.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = config.timeout.0;
        options.attempts = 2;
        options.negative_max_ttl = Some(Duration::from_mins(1));
        Ok(Self { resolver: builder.build().map_err(failed)?, policy, validated })
    }

    /// The exchangers of a domain in the order of preference. A domain without MX records is its own
    /// exchanger (RFC 5321 §5.1).
    pub async fn exchangers(&self, domain: &str) -> Result<Vec<Exchanger>, DnsError> {
        let lookup = match self.resolver.mx_lookup(name(domain)?).await {
            Ok(lookup) => lookup,
            Err(error) if error.is_nx_domain() => return Err(DnsError::NoName(domain.to_owned())),
            Err(error) if error.is_no_records_found() => {
                return Ok(vec![Exchanger { preference: 0, host: domain.to_owned() }]);
            }
            Err(error) => return Err(temporary(domain, &error)),
        };
        match exchangers_of(lookup.answers()) {
            None => Ok(vec![Exchanger { preference: 0, host: domain.to_owned() }]),
            Some(Exchangers::Null) => Err(DnsError::NullMx(domain.to_owned())),
            Some(Exchangers::Hosts(hosts)) => Ok(hosts),
        }
    }

    /// The texts of a name, each with its strings put together; none is no error.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
        match self.resolver.txt_lookup(self::name(name)?).await {
            Ok(lookup) => Ok(texts_of(lookup.answers())),
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(temporary(name, &error)),
        }
    }

    /// The names that an address is said to have (PTR); none is no error.
    pub async fn names(&self, ip: IpAddr) -> Result<Vec<String>, DnsError> {
        match self.resolver.reverse_lookup(ip).await {
            Ok(lookup) => Ok(lookup
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::PTR(name) => Some(text_of(&name.0)),
                    _ => None,
                })
                .collect()),
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(temporary(&ip.to_string(), &error)),
        }
    }

    /// Where validated answers come from, if a resolver is trusted with that.
    pub const fn validated(&self) -> Option<&Validated> {
        self.validated.as_ref()
    }

    /// The addresses of a host that a stranger has named and that may be connected to: global ones that are not this machine's own,
    /// and those whose network the operator allows. A literal address is judged as well.
    pub async fn foreign(&self, host: &str, purpose: NetUse) -> Result<Vec<IpAddr>, DnsError> {
        let mut found = self.any(host).await?;
        found.retain(|ip| self.policy.permits(*ip, purpose, is_own));
        if found.is_empty() { Err(DnsError::Forbidden(host.to_owned(), purpose)) } else { Ok(found) }
    }

    /// The same, of those that HTTP may go to at that port.
    pub async fn foreign_at(&self, host: &str, port: u16) -> Result<Vec<IpAddr>, DnsError> {
        let mut found = self.foreign(host, NetUse::Web).await?;
        found.retain(|ip| self.policy.permits_port(*ip, port));
        if found.is_empty() { Err(DnsError::ForbiddenPort(port)) } else { Ok(found) }
    }

    /// The addresses of a host that the operator named, whatever they are.
    pub async fn any(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        if let Ok(literal) = host.trim_matches(['[', ']']).parse() {
            return Ok(vec![literal]);
        }
        match self.resolver.lookup_ip(name(host)?).await {
            Ok(lookup) => Ok(lookup.iter().collect()),
            Err(error) if error.is_nx_domain() => Err(DnsError::NoName(host.to_owned())),
            // Of two questions the library tells of the first alone: the other may have had no answer.
            Err(error) if error.is_no_records_found() => match self.resolver.ipv6_lookup(name(host)?).await {
                Err(error) if !error.is_no_records_found() && !error.is_nx_domain() => Err(temporary(host, &error)),
                _ => Err(DnsError::NoRecords(host.to_owned())),
            },
            Err(error) => Err(temporary(host, &error)),
        }
    }
}

/// What MX records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchangers {
    /// RFC 7505: no mail.
    Null,
    /// In the order of preference.
    Hosts(Vec<Exchanger>),
}

/// The exchangers that records name; `None` when they name none. A root host beside others names no host.
fn exchangers_of(records: &[Record]) -> Option<Exchangers> {
    let mut hosts: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.data {
            RData::MX(mx) => Some(Exchanger { preference: mx.preference, host: text_of(&mx.exchange) }),
            _ => None,
        })
        .collect();
    // RFC 7505 §3 wants one such record; several of it say the same.
    if !hosts.is_empty() && hosts.iter().all(|exchanger| exchanger.host.is_empty()) {
        return Some(Exchangers::Null);
    }
    hosts.retain(|exchanger| !exchanger.host.is_empty());
    hosts.sort_by_key(|exchanger| exchanger.preference);
    (!hosts.is_empty()).then_some(Exchangers::Hosts(hosts))
}

fn texts_of(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| match &record.data {
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        _ => None,
    };
    records.iter().filter_map(text).collect()
}

/// What the records of an answer say of exchangers and texts; any bytes are taken.
pub fn read_answer(bytes: &[u8]) -> Option<(Option<Exchangers>, Vec<String>)> {
    let message = Message::from_vec(bytes).ok()?;
    Some((exchangers_of(&message.answers), texts_of(&message.answers)))
}

/// The resolvers of this installation: the configured ones, else the system's.
pub fn servers(config: &Dns) -> Vec<SocketAddr> {
    if !config.servers.0.is_empty() {
        return config.servers.0.clone();
    }
    let system = hickory_resolver::system_conf::read_system_conf();
    let servers = system.map(|(config, _)| config.name_servers).unwrap_or_default();
    servers.iter().map(|server| SocketAddr::new(server.ip, 53)).collect()
}

fn temporary(name: &str, error: &NetError) -> DnsError {
    DnsError::Temporary(name.to_owned(), error.to_string())
}

/// The name to ask for. `localhost` is left to the hosts file; what can be no name has no records.
fn name(text: &str) -> Result<Name, DnsError> {
    name_of(text).ok_or_else(|| DnsError::NoName(text.to_owned()))
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}
