//! Which addresses of the network we may connect to.
//!
//! Names come from strangers (MX records, webhook URLs), so every address is judged after resolving
//! and before connecting: only globally reachable ones pass, unless the operator allows a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses at which clouds tell a machine its secrets, or serve its host: never a stranger's to name, whatever network they lie in.
const CLOUD: [IpAddr; 7] = [
    // AWS, Google, Azure, Oracle, Tencent, and most others.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // AWS, of containers and of Kubernetes.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Azure's wire server: a public address, at the machine's own host.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Alibaba.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Oracle, classic.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// What the network is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetUse {
    /// Mail, and the questions to name servers that it needs.
    Mail,
    /// HTTP: webhooks, policies, reports.
    Web,
}

/// The rule by which addresses are judged.
#[derive(Debug, Clone, Default)]
pub struct NetPolicy {
    /// Networks that mail may go to although they are not global, or are this machine's own.
    pub mail: Vec<IpNet>,
    /// The same for HTTP.
    pub web: Vec<IpNet>,
    /// Networks that nothing goes to.
    pub deny: Vec<IpNet>,
    /// Ports that HTTP may go to, outside of the networks in `web`.
    pub web_ports: Vec<u16>,
}

impl NetPolicy {
    /// Whether an address may be connected to that a stranger has named; `is_own` says whether it is this machine's.
    pub fn permits(&self, ip: IpAddr, purpose: NetUse, is_own: impl FnOnce(IpAddr) -> bool) -> bool {
        let ip = ip.to_canonical();
        let within = |networks: &[IpNet]| networks.iter().any(|net| net.contains(&ip));
        if within(&self.deny) || (CLOUD.contains(&ip) && !self.names(ip, purpose)) {
            return false;
        }
        self.allows(ip, purpose) || (is_global(ip) && !is_own(ip))
    }

    /// Whether HTTP may go to that port of an address that is permitted.
    pub fn permits_port(&self, ip: IpAddr, port: u16) -> bool {
        self.web_ports.contains(&port) || self.allows(ip, NetUse::Web)
    }

    /// Whether the operator allows it by name of its network.
    fn allows(&self, ip: IpAddr, purpose: NetUse) -> bool {
        let ip = ip.to_canonical();
        self.of(purpose).iter().any(|net| net.contains(&ip))
    }

    /// Whether the operator names that very address.
    fn names(&self, ip: IpAddr, purpose: NetUse) -> bool {
        self.of(purpose).contains(&IpNet::from(ip))
    }

    fn of(&self, purpose: NetUse) -> &[IpNet] {
        match purpose {
            NetUse::Mail => &self.mail,
            NetUse::Web => &self.web,
        }
    }
}

/// Whose an address is: one caller has a /64 of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Whether an address is globally reachable (IANA special-purpose registries), judged after undoing
/// the IPv6 forms that embed an IPv4 address.
pub fn is_global(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

const fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || a == 10
        || a == 127
        || (a == 100 && b & 0xc0 == 64)
        || (a == 169 && b == 254)
        || (a == 172 && b & 0xf0 == 16)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 0 && c == 2)
        || (a == 192 && b == 88 && c == 99)
        || (a == 192 && b == 168)
        || (a == 198 && b & 0xfe == 18)
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        || a >= 224)
}

const fn is_global_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    // Global unicast is 2000::/3; out of it: Teredo and other 2001:0::/23, documentation, 6to4,
    // 3fff::/20. NAT64 (64:ff9b::/96) lies outside and is refused with the rest.
    s[0] & 0xe000 == 0x2000
        && !(s[0] == 0x2001 && s[1] < 0x200)
        && !(s[0] == 0x2001 && s[1] == 0xdb8)
        && s[0] != 0x2002
        && !(s[0] == 0x3fff && s[1] < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_global_addresses_pass() {
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!is_global(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(is_global(ip.parse().unwrap()), "{ip}");
        }
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_allowed_network_passes_in_either_form_for_what_it_is_allowed_for() {
        let policy = NetPolicy { mail: nets(&["127.0.0.0/8"]), ..NetPolicy::default() };
        let permits = |ip: &str, purpose| policy.permits(ip.parse().unwrap(), purpose, |_| true);
        assert!(permits("127.0.0.1", NetUse::Mail) && permits("::ffff:127.0.0.1", NetUse::Mail));
        assert!(!permits("::1", NetUse::Mail));
        assert!(!permits("127.0.0.1", NetUse::Web) && !permits("::ffff:127.0.0.1", NetUse::Web));
    }

    #[test]
    fn nothing_goes_to_this_machine_to_the_clouds_own_or_to_what_is_denied() {
        let policy = NetPolicy {
            web: nets(&["169.254.0.0/16", "168.63.129.16/32", "10.0.0.0/8"]),
            deny: nets(&["10.1.0.0/16", "192.0.43.0/24"]),
            web_ports: vec![80, 443],
            ..NetPolicy::default()
        };
        let permits =
            |ip: &str| policy.permits(ip.parse().unwrap(), NetUse::Web, |ip| ip == IpAddr::from([1, 1, 1, 1]));
        assert!(permits("8.8.8.8") && permits("10.2.0.1") && permits("169.254.1.1"));
        assert!(!permits("1.1.1.1") && !permits("::ffff:1.1.1.1"), "this machine's own");
        assert!(!permits("169.254.169.254") && !permits("::ffff:169.254.170.2"), "whatever network is allowed");
        assert!(permits("168.63.129.16"), "unless that very address is");
        assert!(!policy.permits("168.63.129.16".parse().unwrap(), NetUse::Mail, |_| false));
        assert!(!permits("10.1.2.3") && !permits("192.0.43.8"), "denied before all else");
        let port = |ip: &str, port| policy.permits_port(ip.parse().unwrap(), port);
        assert!(port("8.8.8.8", 443) && !port("8.8.8.8", 25) && port("10.2.0.1", 9000));
    }
}
