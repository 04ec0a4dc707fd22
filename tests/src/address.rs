//! Loopback addresses of one's own, so that fixed port numbers never collide between tests.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

/// The port that marks an address as taken.
const CLAIM: u16 = 59_999;

/// An address out of 127/8 that nobody else has, neither in this process nor in another one that asks here.
///
/// It stays taken until the process ends. Every port but 59999 is free on it. Linux only: elsewhere 127.0.0.1 is the
/// one loopback address.
pub fn loopback() -> Ipv4Addr {
    for _ in 0..1000 {
        let [_, a, b, c] = fastrand::u32(..).to_be_bytes();
        let address = Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254));
        if let Ok(claim) = TcpListener::bind((address, CLAIM)) {
            // Held for the life of the process: a proxy that ends late must not meet the next test's.
            std::mem::forget(claim);
            return address;
        }
    }
    panic!("no loopback address can be bound; is this Linux?");
}

/// A port of this address, as a socket address.
pub fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(address, port))
}

/// A port on 127.0.0.1 that was free a moment ago, chosen by the kernel.
///
/// # Errors
/// What the system said when it had none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
