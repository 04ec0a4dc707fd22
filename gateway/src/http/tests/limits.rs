//! Limits in time, and the end of connections.

use std::time::Duration;

use proxy::error::CloseReason;
use proxy::lifecycle::drain::Strategy;
use proxy::metrics::HttpStat;

use super::world::World;

const SHORT: Duration = Duration::from_millis(300);
const GET: &str = "GET /a HTTP/1.1\r\nhost: a.example\r\n\r\n";

#[tokio::test]
async fn a_head_that_drips_is_cut() {
    let world = World::new(|manager| manager.request_headers_timeout = Some(SHORT));
    let mut client = world.connect();
    client.send("GET / HT").await;
    let text = client.rest().await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.ends_with("request header timeout"), "{text}");
    assert_eq!(world.chain.stats.get(HttpStat::DownstreamRqHeaderTimeout), 1);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let world = World::new(|manager| manager.common.idle_timeout = Some(SHORT));
    let mut client = world.connect();
    client.send(GET).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 404"));
    assert_eq!(client.rest().await, "");
    assert_eq!(client.ended().await, CloseReason::IdleTimeout);
    assert_eq!(world.chain.stats.get(HttpStat::DownstreamCxIdleTimeout), 1);
}

#[tokio::test]
async fn a_resting_connection_serves_on() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.send(GET).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 404"));
    tokio::time::sleep(Duration::from_millis(2800)).await;
    for _ in 0..2 {
        client.send(GET).await;
        assert!(client.answer().await.starts_with("HTTP/1.1 404"));
    }
}

#[tokio::test]
async fn a_drained_connection_ends_with_its_next_answer() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.send(GET).await;
    assert!(!client.answer().await.contains("connection: close"));
    world.drain.announce(Strategy::Immediate, Duration::from_secs(10));
    client.send(GET).await;
    assert!(client.rest().await.contains("connection: close\r\n"));
    assert_eq!(world.chain.stats.get(HttpStat::DownstreamCxDrainClose), 1);
}

#[tokio::test]
async fn a_connection_ends_with_its_last_request() {
    let world = World::new(|manager| manager.common.max_requests_per_connection = Some(2));
    let mut client = world.connect();
    client.send(GET).await;
    assert!(!client.answer().await.contains("connection: close"));
    client.send(GET).await;
    assert!(client.rest().await.contains("connection: close\r\n"));
}

#[tokio::test]
async fn a_client_that_wants_the_end_gets_it() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(client.rest().await.contains("connection: close\r\n"));
    assert_eq!(client.ended().await, CloseReason::Done);
}

#[tokio::test]
async fn a_connection_has_its_time() {
    let world = World::new(|manager| {
        manager.common.max_connection_duration = Some(SHORT);
        manager.drain_timeout = SHORT;
    });
    let mut client = world.connect();
    client.send(GET).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 404"));
    assert_eq!(client.rest().await, "");
    assert_eq!(client.ended().await, CloseReason::MaxDuration);
    assert_eq!(world.chain.stats.get(HttpStat::DownstreamCxMaxDurationReached), 1);
}
