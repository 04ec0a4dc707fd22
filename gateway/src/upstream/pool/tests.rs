#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use config::model::cluster::HttpOptions;
use config::model::hcm::CommonHttp;
use http::StatusCode;
use proxy::metrics::ClusterStat;
use tokio::time::{sleep, timeout};

use crate::upstream::testing::{Backend, Bed, config, limits, text};

const LONG: Duration = Duration::from_secs(10);
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Waits until it holds.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came true");
}

fn common(change: impl FnOnce(&mut CommonHttp)) -> Option<Box<HttpOptions>> {
    let mut options = HttpOptions::default();
    change(&mut options.common);
    Some(Box::new(options))
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_body_without_one_and_after_trailers() {
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ];
    let address = Backend::new().await.serve(move |mut peer| async move {
        for answer in answers {
            if peer.head().await.is_none() {
                return;
            }
            peer.write(answer).await;
        }
        peer.head().await;
    });
    let bed = Bed::new(&[address]);
    for _ in answers {
        let response = timeout(LONG, bed.get()).await.unwrap().unwrap();
        assert!(matches!(response.status(), StatusCode::OK | StatusCode::NO_CONTENT));
        text(response).await;
    }
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 1);
    assert_eq!(bed.stat(ClusterStat::UpstreamCxHttp1Total), 1);
    assert_eq!(bed.stat(ClusterStat::UpstreamRqTotal), 5);
}

#[tokio::test]
async fn a_connection_that_says_close_is_not() {
    let answers = [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        // The end of the connection is the end of the body.
        "HTTP/1.1 200 OK\r\n\r\nhi",
    ];
    for answer in answers {
        let address = Backend::new().await.serve(move |mut peer| async move {
            peer.head().await;
            peer.write(answer).await;
        });
        let bed = Bed::new(&[address]);
        for _ in 0..3 {
            assert_eq!(text(bed.get().await.unwrap()).await, "hi");
        }
        assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 3, "{answer}");
        until(|| bed.pools.connections() == 0).await;
        assert_eq!(bed.stat(ClusterStat::UpstreamCxDestroy), 3);
    }
}

#[tokio::test]
async fn a_connection_that_closes_while_idle_hurts_nobody() {
    let address = Backend::new().await.serve(|mut peer| async move {
        peer.head().await;
        peer.write(EMPTY).await;
    });
    let bed = Bed::new(&[address]);
    for _ in 0..50 {
        assert_eq!(bed.get().await.unwrap().status(), StatusCode::OK);
        // Sometimes before the end of the last one is noticed, sometimes after.
        if fastrand::bool() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 50);
}

#[tokio::test]
async fn words_that_nobody_asked_for_end_a_connection() {
    let address = Backend::new().await.serve(|mut peer| async move {
        peer.head().await;
        peer.write(EMPTY).await;
        peer.write(EMPTY).await;
        peer.head().await;
    });
    let bed = Bed::new(&[address]);
    bed.get().await.unwrap();
    until(|| bed.pools.connections() == 0).await;
    bed.get().await.unwrap();
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 2);
}

#[tokio::test]
async fn idle_connections_end_after_their_time() {
    let address = Backend::new().await.answer(EMPTY);
    let http = common(|common| common.idle_timeout = Some(Duration::from_millis(100)));
    let bed = Bed::with(&[address], |config| config.http = http);
    bed.get().await.unwrap();
    assert_eq!(bed.pools.connections(), 1);
    until(|| bed.pools.connections() == 0).await;
    assert_eq!(bed.stat(ClusterStat::UpstreamCxIdleTimeout), 1);
    assert_eq!(bed.stat(ClusterStat::UpstreamCxDestroyLocal), 1);
    assert_eq!(bed.stat(ClusterStat::UpstreamCxDestroyWithActiveRq), 0);
}

#[tokio::test]
async fn connections_end_after_their_life_and_after_their_requests() {
    let address = Backend::new().await.answer(EMPTY);
    let http = common(|common| common.max_connection_duration = Some(Duration::from_millis(100)));
    let bed = Bed::with(&[address], |config| config.http = http);
    bed.get().await.unwrap();
    until(|| bed.pools.connections() == 0).await;
    assert_eq!(bed.stat(ClusterStat::UpstreamCxMaxDurationReached), 1);

    let http = common(|common| common.max_requests_per_connection = Some(2));
    let bed = Bed::with(&[address], |config| config.http = http);
    for _ in 0..4 {
        bed.get().await.unwrap();
    }
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 2);
    assert_eq!(bed.stat(ClusterStat::UpstreamCxMaxRequests), 2);
}

#[tokio::test]
async fn connections_end_with_their_host_but_not_their_requests() {
    let address = Backend::new().await.serve(|mut peer| async move {
        while let Some(head) = peer.head().await {
            if head.contains("slow") {
                sleep(Duration::from_millis(200)).await;
            }
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        }
    });
    let other = Backend::new().await.answer(EMPTY);
    let bed = Bed::new(&[address]);
    text(bed.get().await.unwrap()).await;
    let mut slow = crate::upstream::testing::flow(http::Method::GET, "/slow");
    let (slow, ()) = tokio::join!(bed.send(&mut slow, crate::http::Body::Empty), async {
        sleep(Duration::from_millis(50)).await;
        bed.apply(config(), &[other]);
    });
    assert_eq!(text(slow.unwrap()).await, "hi");
    until(|| bed.pools.connections() == 0).await;
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 1);
    bed.get().await.unwrap();
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 2);
    bed.pools.drain();
    until(|| bed.pools.connections() == 0).await;
}

#[tokio::test]
async fn requests_wait_for_a_connection_where_there_may_be_no_more() {
    let address = Backend::new().await.serve(|mut peer| async move {
        while peer.head().await.is_some() {
            sleep(Duration::from_millis(20)).await;
            peer.write(EMPTY).await;
        }
    });
    let bed = Bed::with(&[address], |config| config.circuit_breakers = limits(|limits| limits.max_connections = 1));
    let (a, b, c) = tokio::join!(bed.get(), bed.get(), bed.get());
    assert!([a, b, c].into_iter().all(|answer| answer.unwrap().status() == StatusCode::OK));
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 1);
    assert!(bed.stat(ClusterStat::UpstreamCxOverflow) >= 2);
    assert_eq!(bed.cluster().stats().gauge(ClusterStat::UpstreamRqPendingActive), 0);
}

#[tokio::test]
async fn requests_given_up_while_waiting_leave_the_connection_to_others() {
    let backend = Backend::new().await;
    let bed =
        Bed::with(&[backend.address], |config| config.circuit_breakers = limits(|limits| limits.max_connections = 1));
    let address = backend.serve(|mut peer| async move {
        while peer.head().await.is_some() {
            sleep(Duration::from_millis(100)).await;
            peer.write(EMPTY).await;
        }
    });
    assert!(address.port() > 0);
    let (first, given_up, last) = tokio::join!(bed.get(), timeout(Duration::from_millis(20), bed.get()), bed.get());
    assert!(given_up.is_err());
    assert!(first.is_ok() && last.is_ok());
    assert_eq!(bed.stat(ClusterStat::UpstreamRqCancelled), 1);
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 1);
}
