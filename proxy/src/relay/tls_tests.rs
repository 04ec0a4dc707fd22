//! The same where one side or both are TLS.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::control::Control;
use crate::tls::TlsStream;
use crate::tls::testing::{Pki, Setup, TLS12, TLS13};

const KUMA: &[u8] = b"backend{mesh=default}";

/// Which sides of the relay are TLS.
#[derive(Clone, Copy)]
struct Sides {
    client: bool,
    endpoint: bool,
}

const ALL: [Sides; 3] = [
    Sides { client: true, endpoint: false },
    Sides { client: false, endpoint: true },
    Sides { client: true, endpoint: true },
];

struct Between {
    client: Stream,
    endpoint: Stream,
    relay: JoinHandle<(CloseReason, Moved)>,
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (far, listener.accept().await.unwrap().0)
}

async fn shaken(mut stream: TlsStream) -> Stream {
    poll_fn(|cx| stream.poll_handshake(cx)).await.unwrap();
    Stream::Tls(Box::new(stream))
}

/// Two ends of a connection, the first of them the TLS client.
async fn pair(tls: Option<(&Setup, &Pki)>) -> (Stream, Stream) {
    let (a, b) = tcp().await;
    let Some((setup, pki)) = tls else { return (Stream::Tcp(a), Stream::Tcp(b)) };
    let client = TlsStream::client(Stream::Tcp(a), &setup.client(pki), Some(KUMA)).unwrap();
    let server = TlsStream::server(Stream::Tcp(b), &setup.server(pki), b"");
    tokio::join!(shaken(client), shaken(server))
}

async fn between(sides: Sides, setup: &Setup, limit: u32) -> Between {
    let pki = Pki::new();
    let (client, near) = pair(sides.client.then_some((setup, &pki))).await;
    let (towards, endpoint) = pair(sides.endpoint.then_some((setup, &pki))).await;
    let relay = tokio::spawn(async move {
        let (mut near, mut towards, control) = (near, towards, Control::default());
        let mut relay = Relay::new(Box::default(), limit);
        let reason = poll_fn(|cx| relay.poll(cx, &mut near, &mut towards, &control)).await;
        (reason, relay.moved())
    });
    Between { client, endpoint, relay }
}

fn noise(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| rng.u8(..)).collect()
}

#[tokio::test]
async fn half_closes_both_ways() {
    for setup in [TLS13, TLS12] {
        for sides in ALL {
            let mut b = between(sides, &setup, 1 << 20).await;
            b.client.write_all(b"up").await.unwrap();
            b.client.shutdown().await.unwrap();
            let mut seen = Vec::new();
            b.endpoint.read_to_end(&mut seen).await.unwrap();
            assert_eq!(seen, b"up");
            b.endpoint.write_all(b"still here").await.unwrap();
            b.endpoint.shutdown().await.unwrap();
            seen.clear();
            b.client.read_to_end(&mut seen).await.unwrap();
            assert_eq!(seen, b"still here");
            for end in [&b.client, &b.endpoint] {
                assert!(!matches!(end, Stream::Tls(tls) if tls.is_truncated()));
            }
            assert_eq!(b.relay.await.unwrap(), (CloseReason::Done, Moved { up: 2, down: 10 }));
        }
    }
}

/// Both directions at once, through a small limit too, the readers in pieces of any size.
#[tokio::test]
async fn bulk_arrives_unchanged() {
    const SIZE: usize = 6 << 20;
    for (sides, limit) in ALL.into_iter().flat_map(|sides| [(sides, 1 << 20), (sides, 20_000)]) {
        let b = between(sides, &TLS13, limit).await;
        let (up, down) = (noise(SIZE), noise(SIZE + 1));
        let (mut client_r, mut client_w) = tokio::io::split(b.client);
        let (mut endpoint_r, mut endpoint_w) = tokio::io::split(b.endpoint);
        let (a, b2, c, d) = tokio::join!(
            async { (client_w.write_all(&up).await, client_w.flush().await, client_w.shutdown().await) },
            async { (endpoint_w.write_all(&down).await, endpoint_w.flush().await, endpoint_w.shutdown().await) },
            drink(&mut endpoint_r),
            drink(&mut client_r),
        );
        a.0.unwrap();
        b2.0.unwrap();
        assert!(c == up && d == down);
        assert_eq!(b.relay.await.unwrap(), (CloseReason::Done, Moved { up: SIZE as u64, down: SIZE as u64 + 1 }));
    }
}

async fn drink(from: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let (mut all, mut buffer, mut rng) = (Vec::new(), vec![0; 100_000], fastrand::Rng::with_seed(1));
    loop {
        let room = rng.usize(1..buffer.len());
        match from.read(&mut buffer[..room]).await.unwrap() {
            0 => return all,
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Backpressure: a sink that does not read stops the source, in every combination.
#[tokio::test]
async fn a_slow_reader_holds_the_writer_back() {
    for sides in ALL {
        let mut b = between(sides, &TLS13, 1 << 20).await;
        let data = noise(64 << 20);
        let write = tokio::time::timeout(Duration::from_millis(500), b.client.write_all(&data)).await;
        assert!(write.is_err(), "64 MiB went into the void");
        drop(b.endpoint);
        assert_ne!(b.relay.await.unwrap().0, CloseReason::Done);
    }
}

/// Envoy takes a FIN without close_notify as an end; what was cut off is not made up.
#[tokio::test]
async fn a_truncated_stream_ends() {
    let pki = Pki::new();
    let (client, near) = pair(Some((&TLS13, &pki))).await;
    let (mut far, towards) = tcp().await;
    let relay = tokio::spawn(async move {
        let (mut near, mut towards, control) = (near, Stream::Tcp(towards), Control::default());
        let mut relay = Relay::new(Box::default(), 1 << 20);
        let reason = poll_fn(|cx| relay.poll(cx, &mut near, &mut towards, &control)).await;
        (reason, matches!(near, Stream::Tls(tls) if tls.is_truncated()))
    });
    let mut client = client;
    client.write_all(b"all of it").await.unwrap();
    client.flush().await.unwrap();
    drop(client);
    let mut seen = Vec::new();
    far.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, b"all of it");
    drop(far);
    assert_eq!(relay.await.unwrap(), (CloseReason::Done, true));
}

/// Bytes that do not open end the connection at once; the other side gets none of them.
#[tokio::test]
async fn rubbish_ends_the_connection() {
    let pki = Pki::new();
    let (a, b) = tcp().await;
    let client = TlsStream::client(Stream::Tcp(a), &TLS13.client(&pki), Some(KUMA)).unwrap();
    let server = TlsStream::server(Stream::Tcp(b), &TLS13.server(&pki), b"");
    let (client, near) = tokio::join!(shaken(client), shaken(server));
    let Stream::Tls(client) = client else { panic!() };
    let (mut far, towards) = tcp().await;
    let relay = tokio::spawn(async move {
        let (mut near, mut towards, control) = (near, Stream::Tcp(towards), Control::default());
        let mut relay = Relay::new(Box::default(), 1 << 20);
        poll_fn(|cx| relay.poll(cx, &mut near, &mut towards, &control)).await
    });
    let mut raw = client.into_socket();
    raw.write_all(&[&[23, 3, 3, 0, 40][..], &[7; 40]].concat()).await.unwrap();
    assert_eq!(relay.await.unwrap(), CloseReason::DownstreamReset);
    assert_eq!(far.read(&mut [0]).await.unwrap_or(0), 0);
    // A fatal alert, sealed.
    let mut alert = Vec::new();
    raw.read_to_end(&mut alert).await.unwrap();
    assert_eq!(alert.len(), 5 + 2 + 1 + 16);
}

/// A key update of the client's is answered though nobody writes.
#[tokio::test]
async fn key_updates_go_on_unseen() {
    let mut b = between(Sides { client: true, endpoint: true }, &TLS13, 1 << 20).await;
    let mut seen = [0; 4];
    for _ in 0..3 {
        let Stream::Tls(client) = &mut b.client else { panic!() };
        client.ask_for_new_keys().await;
        b.client.write_all(b"ping").await.unwrap();
        b.endpoint.read_exact(&mut seen).await.unwrap();
        b.endpoint.write_all(b"pong").await.unwrap();
        b.client.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"pong");
    }
}

#[tokio::test]
async fn the_endpoint_ends_first_and_the_client_is_told() {
    let mut b = between(Sides { client: true, endpoint: false }, &TLS13, 1 << 20).await;
    b.endpoint.write_all(b"bye").await.unwrap();
    b.endpoint.shutdown().await.unwrap();
    let mut seen = Vec::new();
    b.client.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, b"bye");
    b.client.shutdown().await.unwrap();
    assert_eq!(b.relay.await.unwrap(), (CloseReason::Done, Moved { up: 0, down: 3 }));
    assert!(matches!(&b.client, Stream::Tls(tls) if !tls.is_truncated()));
}

/// The parts of an idle TLS connection that are in the relay's hands.
#[test]
fn a_tls_stream_is_small() {
    assert!(size_of::<TlsStream>() <= 72, "{}", size_of::<TlsStream>());
    assert!(size_of::<Stream>() <= 48, "{}", size_of::<Stream>());
}
