//! Which addresses are this machine's own.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_ours() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        assert!(can_leave_from(Ipv4Addr::LOCALHOST.into()) && !can_leave_from(Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
