//! Where a request comes from: the peer of its connection, or, behind proxies that the operator trusts, the address that
//! they forward. What a client says of itself is believed from nobody else.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use ipnet::IpNet;

pub const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of the connection that a request came by.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// The address that a request came from; `None`: the proxies do not say.
pub fn client(peer: Option<Peer>, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut hop = peer?.0.to_canonical();
    let is_trusted = |hop: IpAddr| trusted.iter().any(|network| network.contains(&hop));
    // Each proxy adds the address that it was called from at the end.
    for value in headers.get_all(FORWARDED).iter().rev() {
        for text in value.to_str().ok()?.split(',').rev() {
            if !is_trusted(hop) {
                return Some(hop);
            }
            hop = address(text.trim())?.to_canonical();
        }
    }
    (!is_trusted(hop) || !headers.contains_key(FORWARDED)).then_some(hop)
}

/// An address, with a port or in brackets as some proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&str], trusted: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED, value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.split(',').filter_map(|text| text.parse().ok()).collect();
        client(Some(Peer(peer.parse().unwrap())), &headers, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_says_who_calls() {
        let is = |address: &str| Some(address.to_owned());
        assert_eq!(from("192.0.2.1", &[], ""), is("192.0.2.1"));
        assert_eq!(from("192.0.2.1", &["10.0.0.1"], ""), is("192.0.2.1"), "nobody is trusted");
        assert_eq!(from("10.0.0.1", &["192.0.2.7"], "10.0.0.0/8"), is("192.0.2.7"));
        assert_eq!(
            from("10.0.0.1", &["1.1.1.1, 192.0.2.7, 10.0.0.2"], "10.0.0.0/8"),
            is("192.0.2.7"),
            "1.1.1.1 is a claim"
        );
        assert_eq!(
            from("10.0.0.1", &["1.1.1.1", "192.0.2.7"], "10.0.0.0/8"),
            is("192.0.2.7"),
            "two headers are one list"
        );
        assert_eq!(from("10.0.0.1", &["192.0.2.7:4711"], "10.0.0.0/8"), is("192.0.2.7"));
        assert_eq!(from("::ffff:10.0.0.1", &["[2001:db8::1]"], "10.0.0.0/8"), is("2001:db8::1"));
        assert_eq!(from("10.0.0.1", &[], "10.0.0.0/8"), is("10.0.0.1"), "the proxy itself calls");
    }

    #[test]
    fn what_proxies_do_not_say_is_not_known() {
        assert_eq!(from("10.0.0.1", &["unknown"], "10.0.0.0/8"), None);
        assert_eq!(from("10.0.0.1", &["192.0.2.7, "], "10.0.0.0/8"), None);
        assert_eq!(from("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.0/8"), None);
    }
}
