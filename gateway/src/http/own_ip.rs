//! The address of this host, which is told in the place of a loopback one (Envoy's `Network::Utility::getLocalAddress`:
//! the first IPv4 address of an interface that is none of loopback's).

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// Found out once.
pub(super) fn own_ip() -> IpAddr {
    let listed = || std::fs::read_to_string("/proc/net/fib_trie").ok().and_then(|text| first_of(&text));
    IpAddr::V4(listed().or_else(towards_others).unwrap_or(Ipv4Addr::LOCALHOST))
}

/// The kernel's routing trie has an entry `/32 host LOCAL` below each address of its own.
fn first_of(trie: &str) -> Option<Ipv4Addr> {
    let mut lines = trie.lines().map(str::trim).zip(trie.lines().skip(1).map(str::trim));
    lines.find_map(|(address, kind)| {
        let address = address.strip_prefix("|-- ").filter(|_| kind == "/32 host LOCAL")?;
        address.parse().ok().filter(|address: &Ipv4Addr| !address.is_loopback())
    })
}

/// Asking the system for a route sends nothing.
fn towards_others() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_does_not_count() {
        let trie = "Main:\n  |-- 127.0.0.1\n   /32 host LOCAL\n  |-- 10.0.0.0\n  /24 link UNICAST\n  |-- 10.0.0.7\n  /32 host LOCAL\n";
        assert_eq!(first_of(trie), Some(Ipv4Addr::new(10, 0, 0, 7)));
        assert_eq!(first_of("Main:\n  |-- 127.0.0.1\n   /32 host LOCAL\n"), None);
    }
}
