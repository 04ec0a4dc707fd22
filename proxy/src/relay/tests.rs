#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::control::{Control, Kill};

/// A client and an endpoint with a relay between them.
struct Between {
    client: TcpStream,
    endpoint: TcpStream,
    relay: JoinHandle<(CloseReason, Moved)>,
    /// Sent when it is over.
    client_first: tokio::sync::oneshot::Receiver<bool>,
    control: std::sync::Arc<Control>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (far, listener.accept().await.unwrap().0)
}

async fn between(head: &[u8], limit: u32) -> Between {
    let (client, near) = pair().await;
    let (endpoint, towards) = pair().await;
    let control = std::sync::Arc::new(Control::default());
    let (head, shared) = (Box::from(head), std::sync::Arc::clone(&control));
    let (ended, client_first) = tokio::sync::oneshot::channel();
    let relay = tokio::spawn(async move {
        let (mut near, mut towards) = (Stream::Tcp(near), Stream::Tcp(towards));
        let mut relay = Relay::new(head, limit);
        let reason = poll_fn(|cx| relay.poll(cx, &mut near, &mut towards, &shared)).await;
        let _ = ended.send(relay.client_ended_first());
        (reason, relay.moved())
    });
    Between { client, endpoint, relay, client_first, control }
}

fn noise(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| rng.u8(..)).collect()
}

#[tokio::test]
async fn forwards_the_head_first_and_half_closes_both_ways() {
    let mut b = between(b"hello ", 1 << 20).await;
    b.client.write_all(b"world").await.unwrap();
    b.client.shutdown().await.unwrap();
    let mut seen = Vec::new();
    b.endpoint.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, b"hello world");
    b.endpoint.write_all(b"still here").await.unwrap();
    b.endpoint.shutdown().await.unwrap();
    seen.clear();
    b.client.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, b"still here");
    assert_eq!(b.relay.await.unwrap(), (CloseReason::Done, Moved { up: 11, down: 10 }));
}

/// Seen with Envoy 1.40: who ends last has closed (`upstream_cx_destroy_remote`: the endpoint).
#[tokio::test]
async fn knows_who_ended_first() {
    for client_first in [true, false] {
        let Between { mut client, mut endpoint, client_first: seen, .. } = between(b"", 1 << 20).await;
        let (first, last) = if client_first { (&mut client, &mut endpoint) } else { (&mut endpoint, &mut client) };
        first.shutdown().await.unwrap();
        assert_eq!(last.read(&mut [0]).await.unwrap(), 0);
        last.shutdown().await.unwrap();
        assert_eq!(seen.await.unwrap(), client_first);
    }
}

/// Both directions at once, larger than any buffer between, the reader slower than the writer.
async fn bulk(limit: u32) -> usize {
    const SIZE: usize = 24 << 20;
    let b = between(b"", limit).await;
    let (up, down) = (noise(SIZE), noise(SIZE + 1));
    let (mut client_r, mut client_w) = b.client.into_split();
    let (mut endpoint_r, mut endpoint_w) = b.endpoint.into_split();
    let (up2, down2) = (up.clone(), down.clone());
    let writers = tokio::spawn(async move {
        let (a, b) = tokio::join!(client_w.write_all(&up2), endpoint_w.write_all(&down2));
        a.unwrap();
        b.unwrap();
        (client_w, endpoint_w)
    });
    let readers = tokio::spawn(async move {
        let (mut a, mut b) = (vec![0; SIZE], vec![0; SIZE + 1]);
        let (x, y) = tokio::join!(endpoint_r.read_exact(&mut a), client_r.read_exact(&mut b));
        x.unwrap();
        y.unwrap();
        (a, b)
    });
    let (seen_up, seen_down) = readers.await.unwrap();
    assert!(seen_up == up && seen_down == down);
    drop(writers.await.unwrap());
    let (reason, moved) = b.relay.await.unwrap();
    assert_eq!(reason, CloseReason::Done);
    assert_eq!(moved, Moved { up: SIZE as u64, down: SIZE as u64 + 1 });
    pipe::pooled()
}

#[tokio::test]
async fn copies_bulk_unchanged_where_there_are_no_pipes() {
    assert_eq!(bulk(1 << 20).await, 0);
}

#[tokio::test]
async fn splices_bulk_unchanged_and_gives_the_pipes_back() {
    pipe::install(Budget::new(4));
    // Fails when the splice path is not taken: then no pipe was ever made.
    assert!(bulk(1 << 20).await > 0);
}

#[tokio::test]
async fn small_messages_after_bulk_go_back_to_copying() {
    pipe::install(Budget::new(4));
    let (mut source, near) = pair().await;
    let (mut sink, towards) = pair().await;
    let (mut near, mut towards) = (Stream::Tcp(near), Stream::Tcp(towards));
    let mut pump = Pump::default();
    let mut moved = 0;
    let write = tokio::spawn(async move {
        source.write_all(&noise(4 << 20)).await.unwrap();
        source
    });
    let read = tokio::spawn(async move {
        let mut all = vec![0; 4 << 20];
        sink.read_exact(&mut all).await.unwrap();
        sink
    });
    let mut spliced = false;
    let mut step = async |pump: &mut Pump, moved: &mut u64, until: u64| {
        poll_fn(|cx| {
            let step = pump
                .advance(cx, Way { from: &mut near, to: &mut towards, limit: 1 << 20, last: false }, moved)
                .unwrap();
            spliced |= pump.splices();
            if step == Step::Again {
                cx.waker().wake_by_ref();
            }
            if *moved >= until { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    };
    step(&mut pump, &mut moved, 4 << 20).await;
    let (mut source, mut sink) = (write.await.unwrap(), read.await.unwrap());
    assert!(pump.splices());
    for n in 1..=20 {
        source.write_all(b"small").await.unwrap();
        step(&mut pump, &mut moved, (4 << 20) + 5 * n).await;
        let mut five = [0; 5];
        sink.read_exact(&mut five).await.unwrap();
    }
    assert!(spliced && !pump.splices());
}

#[tokio::test]
async fn a_slow_reader_holds_the_writer_back() {
    let mut b = between(b"", 1 << 20).await;
    let data = noise(64 << 20);
    let write = tokio::time::timeout(Duration::from_millis(300), b.client.write_all(&data)).await;
    assert!(write.is_err(), "64 MiB went into the void");
    drop(b.endpoint);
    assert_ne!(b.relay.await.unwrap().0, CloseReason::Done);
}

#[tokio::test]
async fn is_ended_from_outside_while_silent() {
    let mut b = between(b"x", 1 << 20).await;
    assert_eq!(b.endpoint.read_u8().await.unwrap(), b'x');
    b.control.kill(Kill::Drained);
    assert_eq!(b.relay.await.unwrap().0, CloseReason::Drained);
    assert_eq!(b.client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_reset_names_its_side() {
    let b = between(b"", 1 << 20).await;
    socket2::SockRef::from(&b.client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(b.client);
    assert_eq!(b.relay.await.unwrap().0, CloseReason::DownstreamReset);
    let b = between(b"", 1 << 20).await;
    socket2::SockRef::from(&b.endpoint).set_linger(Some(Duration::ZERO)).unwrap();
    drop(b.endpoint);
    assert_eq!(b.relay.await.unwrap().0, CloseReason::UpstreamReset);
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Pump>() <= 16, "{}", size_of::<Pump>());
    assert!(size_of::<Control>() <= 64, "{}", size_of::<Control>());
}
