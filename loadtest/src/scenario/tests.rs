#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! What a scenario refuses, and its sizes. The figures: `tests/scenarios.rs`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::*;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn subject(address: SocketAddr, names: u32) -> Subject {
    Subject { target: Target { address, tls: None }, pid: std::process::id(), names }
}

/// A peer that reads something, says something, and closes.
fn impostor(answer: &'static [u8]) -> SocketAddr {
    use std::io::{Read, Write};
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 4096];
        let _ = stream.read(&mut hello).unwrap();
        stream.write_all(answer).unwrap();
    });
    address
}

fn bulk_from(answer: &'static [u8], bytes: u64) -> Result<(), Error> {
    run(bulk(&subject(impostor(answer), 1), bytes))
}

#[test]
fn wrong_missing_and_surplus_bytes_are_errors() {
    let wrong = bulk_from(&[0, 1, 9], 3).unwrap_err();
    assert!(matches!(wrong, Error::WrongBytes { after: 2, expected: 3, .. }), "{wrong}");
    let missing = bulk_from(&[0, 1], 3).unwrap_err();
    assert!(matches!(missing, Error::WrongBytes { after: 2, expected: 3, .. }), "{missing}");
    let surplus = bulk_from(&[0, 1, 2, 3], 3).unwrap_err();
    assert!(matches!(surplus, Error::WrongBytes { .. }), "{surplus}");
    bulk_from(&[0, 1, 2], 3).unwrap();
}

#[test]
fn sizes_divide() {
    assert_eq!(Scenario::all(0), Scenario::all(1));
    assert_eq!(Scenario::all(10)[0], Scenario::Connections { count: 400, concurrency: 50 });
    assert!(Scenario::all(1).iter().all(|it| it.needs_fresh_process() == (it.name() == "idle")));
}
