use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::upstream::testing::Peer;

const FAILS: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nfail";
const WORKS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers with the first for so many requests, then with the second; how often it was asked.
async fn flaky(fails: u32, first: &'static str, then: &'static str) -> (std::net::SocketAddr, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&count);
    let address = Backend::new().await.serve(move |mut peer: Peer| {
        let asked = Arc::clone(&asked);
        async move {
            while let Some(head) = peer.head().await {
                if let Some(length) = head.split("content-length: ").nth(1) {
                    peer.read(length.split("\r\n").next().unwrap().parse().unwrap()).await;
                }
                match asked.fetch_add(1, Ordering::Relaxed) < fails {
                    true if first.is_empty() => return,
                    true => peer.write(first).await,
                    false => peer.write(then).await,
                }
            }
        }
    });
    (address, count)
}

#[tokio::test]
async fn each_word_of_retry_on() {
    const CONFLICT: &str = "HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n";
    const TEAPOT: &str = "HTTP/1.1 418 Teapot\r\nx-again: yes\r\ncontent-length: 0\r\n\r\n";
    const LIMITED: &str = "HTTP/1.1 503 X\r\nx-envoy-ratelimited: true\r\ncontent-length: 0\r\n\r\n";
    const ERROR: &str = "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n";
    const GRPC: &str = "HTTP/1.1 200 OK\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n";
    let rows = [
        ("5xx", FAILS, true),
        ("5xx", "", true),
        ("5xx", LIMITED, false),
        ("envoy-ratelimited", LIMITED, true),
        ("gateway-error", FAILS, true),
        ("gateway-error", ERROR, false),
        ("retriable-4xx", CONFLICT, true),
        ("reset", "", true),
        ("reset", FAILS, false),
        ("reset-before-request", "", false),
        ("connect-failure", "", false),
        ("refused-stream", "", false),
        ("unavailable", GRPC, true),
        ("cancelled", GRPC, false),
    ];
    for (word, answer, again) in rows {
        let (address, asked) = flaky(1, answer, WORKS).await;
        let mut bed = Bed::new(&[address]);
        bed.route = forward(&format!("retry_policy: {{retry_on: '{word}'}}"));
        let answered = bed.get().await.is_ok_and(|response| response.status() == StatusCode::OK);
        assert_eq!(asked.load(Ordering::Relaxed), if again { 2 } else { 1 }, "{word}: {answer}");
        assert!(!again || answered);
        assert_eq!(bed.stat(ClusterStat::UpstreamRqRetry), u64::from(again));
        assert_eq!(bed.stat(ClusterStat::UpstreamRqRetrySuccess), u64::from(again));
    }
    let rows = [
        "{retry_on: retriable-status-codes, retriable_status_codes: [418]}",
        "{retry_on: retriable-headers, retriable_headers: [{name: x-again}]}",
    ];
    for policy in rows {
        let (address, _) = flaky(1, TEAPOT, WORKS).await;
        let mut bed = Bed::new(&[address]);
        bed.route = forward(&format!("retry_policy: {policy}"));
        assert_eq!(bed.get().await.unwrap().status(), StatusCode::OK, "{policy}");
    }
}

#[tokio::test]
async fn a_body_is_sent_again() {
    let (address, asked) = flaky(2, FAILS, WORKS).await;
    let mut bed = Bed::new(&[address]);
    bed.route = forward("retry_policy: {retry_on: 5xx, num_retries: 2, retry_back_off: {base_interval: 0.001s}}");
    let mut flow = flow(Method::POST, "/");
    let response = bed.send(&mut flow, Body::full("hello")).await.unwrap();
    assert_eq!((response.status(), asked.load(Ordering::Relaxed)), (StatusCode::OK, 3));
    assert_eq!((flow.attempts, &response.headers()["x-envoy-attempt-count"]), (3, &"3".parse().unwrap()));
    assert_eq!(flow.request.headers["x-envoy-is-timeout-retry"], "false");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not() {
    let (address, asked) = flaky(1, FAILS, WORKS).await;
    let mut bed = Bed::new(&[address]);
    bed.route = forward("retry_policy: {retry_on: 5xx}");
    let response = bed.send(&mut flow(Method::POST, "/"), Body::full("x".repeat(1001))).await.unwrap();
    assert_eq!((response.status().as_u16(), asked.load(Ordering::Relaxed)), (503, 1));
    assert_eq!(bed.stat(ClusterStat::RetryOrShadowAbandoned), 1);
}

#[tokio::test]
async fn when_tries_are_used_up_the_last_answer_counts() {
    let (address, asked) = flaky(9, FAILS, WORKS).await;
    let mut bed = Bed::new(&[address]);
    bed.route = forward("retry_policy: {retry_on: 5xx, num_retries: 2, retry_back_off: {base_interval: 0.001s}}");
    let mut flow = flow(Method::GET, "/");
    let response = bed.send(&mut flow, Body::Empty).await.unwrap();
    assert_eq!((response.status().as_u16(), asked.load(Ordering::Relaxed)), (503, 3));
    assert!(flow.flags.has(Flag::UpstreamRetryLimitExceeded));
    assert_eq!(text(response).await, "fail");
    assert_eq!(bed.stat(ClusterStat::UpstreamRqRetryLimitExceeded), 1);
    assert_eq!(bed.stat(ClusterStat::UpstreamRqRetryBackoffExponential), 2);
}

#[tokio::test]
async fn resets_say_that_they_were_retried() {
    let (address, _) = flaky(9, "", WORKS).await;
    let mut bed = Bed::new(&[address]);
    bed.route = forward("retry_policy: {retry_on: reset}");
    let reply = bed.get().await.unwrap_err();
    assert!(reply.body.contains("retried and the latest reset reason: connection termination"), "{}", reply.body);
    assert_eq!(reply.flags.short(), "UC,URX");
    assert_eq!(reply.headers["x-envoy-attempt-count"], "2");
}

#[tokio::test]
async fn another_host_is_tried() {
    let gone = Backend::new().await.address;
    let works = Backend::new().await.answer(WORKS);
    let mut bed = Bed::new(&[gone, works]);
    bed.route = forward(
        "retry_policy: {retry_on: connect-failure, num_retries: 1, host_selection_retry_max_attempts: 5, \
         retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: \
         {'@type': type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]}",
    );
    for _ in 0..6 {
        assert_eq!(bed.get().await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn no_more_retries_at_a_time_than_allowed() {
    let (address, _) = flaky(9, FAILS, WORKS).await;
    let mut bed = Bed::with(&[address], |config| config.circuit_breakers = limits(|limits| limits.max_retries = 0));
    bed.route = forward("retry_policy: {retry_on: 5xx}");
    let mut flow = flow(Method::GET, "/");
    assert_eq!(bed.send(&mut flow, Body::Empty).await.unwrap().status().as_u16(), 503);
    assert!(flow.flags.has(Flag::UpstreamOverflow));
    assert_eq!(bed.stat(ClusterStat::UpstreamRqRetryOverflow), 1);
}

#[tokio::test]
async fn the_endpoint_may_say_when() {
    const LATER: &str = "HTTP/1.1 503 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    let (address, _) = flaky(1, LATER, WORKS).await;
    let mut bed = Bed::new(&[address]);
    bed.route = forward(
        "retry_policy: {retry_on: 5xx, rate_limited_retry_back_off: {reset_headers: [{name: retry-after, format: SECONDS}]}}",
    );
    let start = Instant::now();
    assert_eq!(bed.get().await.unwrap().status(), StatusCode::OK);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(bed.stat(ClusterStat::UpstreamRqRetryBackoffRatelimited), 1);
}

#[tokio::test]
async fn the_route_has_its_time_between_tries_too() {
    const LATER: &str = "HTTP/1.1 503 X\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n";
    let (address, _) = flaky(1, LATER, WORKS).await;
    let mut bed = Bed::new(&[address]);
    bed.route = forward(
        "timeout: 0.1s, retry_policy: {retry_on: 5xx, rate_limited_retry_back_off: \
         {reset_headers: [{name: retry-after, format: SECONDS}]}}",
    );
    let reply = bed.get().await.unwrap_err();
    assert_eq!((reply.status.as_u16(), &*reply.details), (504, "response_timeout"));
}

#[tokio::test]
async fn a_try_that_took_too_long_is_retried_and_said_so() {
    let slow = Backend::new().await.serve(|mut peer| async move {
        let late = peer.head().await.is_some_and(|head| head.contains("x-envoy-is-timeout-retry: true"));
        match late {
            true => peer.write(WORKS).await,
            false => drop(peer.head().await),
        }
    });
    let mut bed = Bed::new(&[slow]);
    bed.route = forward("retry_policy: {retry_on: 5xx, per_try_timeout: 0.05s}");
    assert_eq!(bed.get().await.unwrap().status(), StatusCode::OK);
    assert_eq!(bed.stat(ClusterStat::UpstreamRqPerTryTimeout), 1);
}
