#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod http2;
mod retries;
mod streams;

use std::time::Duration;

use http::{Method, StatusCode};
use proxy::metrics::ClusterStat;
use proxy::report::http::Flag;

use super::testing::{Backend, Bed, flow, forward, limits, text, with_header};
use crate::http::Body;

#[tokio::test]
async fn a_request_gets_its_answer() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\nconnection: keep-alive\r\n\r\nhi";
    let bed = Bed::new(&[Backend::new().await.answer(answer)]);
    let response = bed.get().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-a"], "b");
    assert_eq!(response.headers()["x-envoy-attempt-count"], "1");
    assert!(response.headers().contains_key("x-envoy-upstream-service-time"));
    assert!(!response.headers().contains_key("connection"));
    assert_eq!(text(response).await, "hi");
}

#[tokio::test]
async fn the_endpoint_sees_host_path_attempt_and_time() {
    let backend = Backend::new().await;
    let bed = Bed::new(&[backend.address]);
    let seen = tokio::spawn(async move {
        let mut peer = backend.accept().await;
        let head = peer.head().await.unwrap();
        peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        head
    });
    let mut flow = with_header(flow(Method::GET, "/a/b?c=d"), "x-envoy-upstream-rq-timeout-ms", "5000");
    assert_eq!(bed.send(&mut flow, Body::Empty).await.unwrap().status(), StatusCode::NO_CONTENT);
    let head = seen.await.unwrap();
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    lines.sort_unstable();
    let expected = [
        "GET /a/b?c=d HTTP/1.1",
        "host: a.example",
        "x-envoy-attempt-count: 1",
        "x-envoy-expected-rq-timeout-ms: 5000",
    ];
    assert_eq!(lines, expected);
    assert_eq!((flow.attempts, &*flow.details), (1, "via_upstream"));
    let upstream = flow.upstream.unwrap();
    assert!(upstream.host.is_some() && upstream.connection.unwrap().local.is_some());
}

#[tokio::test]
async fn nobody_there() {
    let backend = Backend::new().await;
    let address = backend.address;
    drop(backend);
    let bed = Bed::new(&[address]);
    let reply = bed.get().await.unwrap_err();
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.flags.short(), "UF");
    assert!(reply.body.ends_with("reset reason: remote connection failure"), "{}", reply.body);
    assert!(reply.details.contains("|delayed_connect_error"), "{}", reply.details);
    assert_eq!(bed.stat(ClusterStat::UpstreamRqPendingFailureEject), 1);
    let reply = Bed::new(&[]).get().await.unwrap_err();
    assert_eq!((&*reply.body, &*reply.details), ("no healthy upstream", "no_healthy_upstream"));
    assert!(reply.flags.has(Flag::NoHealthyUpstream));
}

#[tokio::test]
async fn answers_that_are_none() {
    let rows = [
        ("", "UC", 503, "connection termination"),
        ("HTTP/1.1 200 OK\r\ncontent-", "UC", 503, "connection termination"),
        ("nonsense\r\n\r\n", "UPE", 502, "protocol error"),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "UPE", 502, "protocol error"),
    ];
    for (answer, flag, status, reason) in rows {
        let address = Backend::new().await.serve(move |mut peer| async move {
            peer.head().await;
            peer.write(answer).await;
        });
        let reply = Bed::new(&[address]).get().await.unwrap_err();
        assert_eq!((reply.flags.short().as_str(), reply.status.as_u16()), (flag, status), "{answer:?}");
        assert!(reply.body.ends_with(&format!("reset reason: {reason}")), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_connection_that_is_reset() {
    let address = Backend::new().await.serve(|mut peer| async move {
        peer.head().await;
        peer.reset();
    });
    let reply = Bed::new(&[address]).get().await.unwrap_err();
    assert_eq!((reply.flags.short().as_str(), reply.status.as_u16()), ("UC", 503));
}

#[tokio::test]
async fn heads_of_answers_are_bounded() {
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(100));
    let large = format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 0\r\n\r\n", "b".repeat(90 * 1024));
    for answer in [many, large] {
        let address = Backend::new().await.serve(move |mut peer| {
            let answer = answer.clone();
            async move {
                peer.head().await;
                peer.write(&answer).await;
            }
        });
        let reply = Bed::new(&[address]).get().await.unwrap_err();
        assert_eq!((reply.flags.short().as_str(), reply.status.as_u16()), ("UPE", 502));
    }
}

#[tokio::test]
async fn the_route_and_the_try_have_their_time() {
    let address = Backend::new().await.serve(|mut peer| async move { while peer.head().await.is_some() {} });
    let mut bed = Bed::new(&[address]);
    let rows = [
        ("timeout: 0.05s", "response_timeout", ClusterStat::UpstreamRqTimeout),
        ("retry_policy: {per_try_timeout: 0.05s}", "upstream_per_try_timeout", ClusterStat::UpstreamRqPerTryTimeout),
        (
            "retry_policy: {per_try_idle_timeout: 0.05s}",
            "upstream_per_try_idle_timeout",
            ClusterStat::UpstreamRqPerTryIdleTimeout,
        ),
    ];
    for (fields, details, stat) in rows {
        bed.route = forward(fields);
        let reply = bed.get().await.unwrap_err();
        assert_eq!((reply.status.as_u16(), &*reply.body), (504, "upstream request timeout"));
        assert_eq!((&*reply.details, bed.stat(stat)), (details, 1));
        assert!(reply.flags.has(Flag::UpstreamRequestTimeout));
    }
}

#[tokio::test]
async fn connecting_takes_connect_timeout_at_most() {
    // A full backlog answers nobody.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let fill: Vec<_> = (0..3).map(|_| tokio::spawn(tokio::net::TcpStream::connect(address))).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let bed = Bed::with(&[address], |config| config.connect_timeout = Duration::from_millis(50));
    let reply = bed.get().await.unwrap_err();
    assert!(reply.body.ends_with("reset reason: connection timeout"), "{}", reply.body);
    assert_eq!(bed.stat(ClusterStat::UpstreamCxConnectTimeout), 1);
    fill.iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let address = Backend::new().await.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    for breakers in [limits(|limits| limits.max_pending = 0), limits(|limits| limits.max_requests = 0)] {
        let bed = Bed::with(&[address], |config| config.circuit_breakers = breakers);
        let reply = bed.get().await.unwrap_err();
        assert_eq!(reply.flags.short(), "UO");
        assert_eq!(reply.headers["x-envoy-overloaded"], "true");
        assert!(reply.body.ends_with("reset reason: overflow"));
        assert_eq!(bed.stat(ClusterStat::UpstreamRqPendingOverflow), 1);
    }
}
