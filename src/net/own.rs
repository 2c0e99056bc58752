//! Which addresses are this machine's own, and what it calls itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Whether packets to `ip` would stay on this machine: the system would send them from the very same address. Nothing
/// is sent to find out.
pub fn is_own(ip: IpAddr) -> bool {
    source_towards(ip) == Some(ip)
}

/// The address that the system would send from to reach `ip`.
pub fn source_towards(ip: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(SocketAddr::new(ip, 25)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

/// Whether connections can be made from `ip`.
pub fn can_leave_from(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// What EHLO says: the configured name, else the machine's; an address literal when it has none that could be one.
pub fn hello_name(configured: &str) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if is_name { name.to_owned() } else { "[127.0.0.1]".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_ours() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        assert!(can_leave_from(Ipv4Addr::LOCALHOST.into()) && !can_leave_from(Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
