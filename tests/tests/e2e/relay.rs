//! Bytes in both directions, and how connections end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{bootstrap, chain, cluster, listener, tcp_proxy};
use tests::client::{connect, line, read_to_end};
use tests::compare::compare;
use tests::hello::Hello;
use tests::process::Site;
use tests::wait::{until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::story::{IN, log_to, tell};

const NAME: &str = "one.test";

fn to_one(site: &Site, endpoint: SocketAddr, filter: Value) -> Value {
    let filter = tests::bootstrap::merged(json!({"access_log": log_to(site)}), filter);
    let chains = [chain(&[NAME], tcp_proxy("one", filter))];
    bootstrap(site, &[listener("in", site.at(IN), &chains)], &[cluster("one", &[endpoint], json!({}))])
}

async fn opened(proxy: SocketAddr) -> TcpStream {
    let mut stream = connect(proxy).await;
    let hello = Hello::to(NAME).bytes();
    stream.write_all(&hello).await.unwrap();
    assert_eq!(within("the banner", line(&mut stream)).await.unwrap(), "one");
    let mut echo = vec![0; hello.len()];
    within("the hello", stream.read_exact(&mut echo)).await.unwrap();
    assert_eq!(echo, hello);
    stream
}

/// The server ends first: the client's direction stays open, and its bytes arrive.
#[tokio::test]
async fn the_server_ends_first() {
    let total = Arc::new(AtomicUsize::new(0));
    let backend = Backend::finishes_first("all I have to say\n", Arc::clone(&total)).await;
    let story = compare(
        |site| to_one(site, backend.address(), json!({})),
        async |proxy| {
            total.store(0, Ordering::SeqCst);
            tell(proxy, 1, async |p| {
                let mut stream = connect(p.at(IN)).await;
                let hello = Hello::to(NAME).padded(100).bytes();
                stream.write_all(&hello).await.unwrap();
                let said = read_to_end(&mut stream).await;
                // Only now, long after the server's end, comes what the client has to say.
                for _ in 0..50 {
                    stream.write_all(&[7; 10_000]).await.unwrap();
                }
                stream.shutdown().await.unwrap();
                until("all bytes", async || (total.load(Ordering::SeqCst) >= hello.len() + 500_000).then_some(()))
                    .await;
                (String::from_utf8(said).unwrap(), total.load(Ordering::SeqCst))
            })
            .await
        },
    )
    .await;
    assert_eq!(story.seen.0, "all I have to say\n");
}

/// The client ends first: what the server still has to say arrives.
#[tokio::test]
async fn the_client_ends_first() {
    let backend = Backend::start(|mut stream| async move {
        let mut all = Vec::new();
        stream.write_all(b"one\n").await?;
        stream.read_to_end(&mut all).await?;
        // Long after the client's end.
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.write_all(&vec![9; 300_000]).await?;
        stream.write_all(format!("{} bytes", all.len()).as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
    let story = compare(
        |site| to_one(site, backend.address(), json!({})),
        async |proxy| {
            tell(proxy, 1, async |p| {
                let mut stream = connect(p.at(IN)).await;
                let hello = Hello::to(NAME).bytes();
                stream.write_all(&hello).await.unwrap();
                assert_eq!(within("the banner", line(&mut stream)).await.unwrap(), "one");
                stream.shutdown().await.unwrap();
                let read = read_to_end(&mut stream).await;
                let says_so = read.ends_with(format!("\t{} bytes", hello.len()).as_bytes());
                (read.len() > 300_000, says_so)
            })
            .await
        },
    )
    .await;
    assert_eq!(story.seen, (true, true));
}

/// Much, both ways at once, every byte compared. `ZONEGATE_RELAY_MIB` says how much each way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_both_ways() {
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    let mebibytes = std::env::var("ZONEGATE_RELAY_MIB").ok().and_then(|v| v.parse().ok());
    let mebibytes: usize = mebibytes.unwrap_or(if ci { 1024 } else { 64 });
    let backend = Backend::start(|mut stream| async move {
        // Echo with large buffers; tokio's own copy uses small ones.
        stream.write_all(b"one\n").await?;
        let (mut from, mut to) = stream.split();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match from.read(&mut buffer).await? {
                0 => return to.shutdown().await,
                n => to.write_all(&buffer[..n]).await?,
            }
        }
    })
    .await;
    // Longer than any buffer on the way and of a length that divides none.
    let pattern: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take((1 << 20) + 13).collect();
    let rounds = mebibytes;
    let equal = compare(
        |site| to_one(site, backend.address(), json!({})),
        async |proxy| {
            let stream = opened(proxy.at(IN)).await;
            let (mut from, mut to) = stream.into_split();
            let sent = pattern.clone();
            let writer = tokio::spawn(async move {
                for _ in 0..rounds {
                    to.write_all(&sent).await.unwrap();
                }
                to.shutdown().await.unwrap();
            });
            let mut block = vec![0; pattern.len()];
            for round in 0..rounds {
                from.read_exact(&mut block).await.unwrap();
                assert!(block == pattern, "block {round} differs");
            }
            writer.await.unwrap();
            from.read(&mut block).await.unwrap() == 0
        },
    )
    .await;
    assert!(equal);
}

#[tokio::test]
async fn idle() {
    let backend = Backend::echo("one").await;
    let story = compare(
        |site| to_one(site, backend.address(), json!({"idle_timeout": "1s"})),
        async |proxy| {
            tell(proxy, 1, async |p| {
                let mut stream = opened(p.at(IN)).await;
                // Traffic keeps it alive beyond the timeout.
                for _ in 0..9 {
                    stream.write_all(b"x").await.unwrap();
                    within("an echo", stream.read_exact(&mut [0])).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                let start = Instant::now();
                let rest = read_to_end(&mut stream).await;
                (rest.len(), start.elapsed() >= Duration::from_millis(700))
            })
            .await
        },
    )
    .await;
    assert_eq!(story.seen, (0, true));
}

#[tokio::test]
async fn longest_life() {
    let backend = Backend::echo("one").await;
    let story = compare(
        |site| to_one(site, backend.address(), json!({"max_downstream_connection_duration": "0.7s"})),
        async |proxy| {
            tell(proxy, 1, async |p| {
                let start = Instant::now();
                let mut stream = opened(p.at(IN)).await;
                read_to_end(&mut stream).await;
                // Envoy's timers may be a little early.
                start.elapsed() >= Duration::from_millis(600)
            })
            .await
        },
    )
    .await;
    assert!(story.seen);
    assert_eq!(story.logged(0, "flags"), "DT");
}
