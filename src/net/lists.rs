//! Lists that are asked by DNS (RFC 5782): under which name something would be listed, and what an answer means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::dns::Resolver;
use super::dns_error::DnsError;

/// What a list says of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// With its answers, which say why.
    Listed(Vec<String>),
    NotListed,
    /// It does not answer this resolver, answers everything, or cannot be reached.
    Unknown,
}

/// The name under which a list would list an address (RFC 5782 §2.1, §2.4).
pub fn listed_as(ip: IpAddr, list: &str) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.{list}")
        }
        IpAddr::V6(v6) => listed_as_v6(v6, list),
    }
}

/// The name that no list of addresses has (RFC 5782 §5).
pub fn never_listed(ip: IpAddr, list: &str) -> String {
    let v4 = Ipv4Addr::LOCALHOST;
    let control = if ip.to_canonical().is_ipv4() { IpAddr::from(v4) } else { IpAddr::from(v4.to_ipv6_mapped()) };
    match control {
        IpAddr::V4(_) => listed_as(control, list),
        // Not canonical: the form of IPv6 is asked for.
        IpAddr::V6(v6) => listed_as_v6(v6, list),
    }
}

fn listed_as_v6(v6: Ipv6Addr, list: &str) -> String {
    let digits = v6.octets().into_iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
    digits.collect::<String>() + list
}

/// What a list says of the name under which something would stand. `never` is a name that no list has (RFC 5782 §5): one that has it
/// answers everything, and says nothing.
pub async fn ask(resolver: &Resolver, name: &str, never: &str) -> Listing {
    match answers(resolver, name).await {
        Some(found) if found.is_empty() => Listing::NotListed,
        Some(found) => match answers(resolver, never).await {
            Some(none) if none.is_empty() => Listing::Listed(found.iter().map(Ipv4Addr::to_string).collect()),
            _ => Listing::Unknown,
        },
        None => Listing::Unknown,
    }
}

/// The answers that name a reason; `None`: nobody can tell.
async fn answers(resolver: &Resolver, name: &str) -> Option<Vec<Ipv4Addr>> {
    let found = match resolver.any(name).await {
        Ok(found) => found,
        Err(DnsError::NoName(_) | DnsError::NoRecords(_)) => return Some(Vec::new()),
        Err(_) => return None,
    };
    let v4: Option<Vec<_>> =
        found.into_iter().map(|ip| if let IpAddr::V4(v4) = ip { Some(v4) } else { None }).collect();
    // What is no 127/8 is the answer of somebody else: a resolver that knows no "no". 127.255.255/24 is how lists say that they do
    // not answer this resolver.
    v4.filter(|all| all.iter().all(|ip| ip.is_loopback() && ip.octets()[..3] != [127, 255, 255]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_asked_by_the_address_backwards() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(listed_as(ip("192.0.2.99"), "bl.example"), "99.2.0.192.bl.example");
        let v6 = listed_as(ip("2001:db8:1:2:3:4:567:89ab"), "ugly.example");
        assert_eq!(v6, "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ugly.example");
    }
}
