use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;

use super::*;
use crate::http::BodyError;

/// A body that is sent by hand.
struct Hand(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BodyError>>);

impl HttpBody for Hand {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx)
    }
}

fn body() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Body::boxed(Hand(receiver)))
}

#[tokio::test]
async fn both_directions_stream_and_the_answer_may_be_first() {
    let address = Backend::new().await.serve(|mut peer| async move {
        peer.head().await;
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        // One chunk each way at a time.
        for _ in 0..3 {
            let chunk = peer.read("1\r\nx\r\n".len()).await;
            peer.write(&chunk).await;
        }
        assert_eq!(peer.read(5).await, "0\r\n\r\n");
        peer.write("0\r\n\r\n").await;
        peer.head().await;
    });
    let bed = Bed::new(&[address]);
    let (sender, body) = body();
    let mut response = bed.send(&mut flow(Method::POST, "/"), body).await.unwrap().into_body();
    for _ in 0..3 {
        sender.send(Ok(Frame::data("x".into()))).unwrap();
        assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
    }
    drop(sender);
    assert!(response.frame().await.is_none());
    assert_eq!(bed.pools.connections(), 1);
    assert_eq!(bed.stat(ClusterStat::UpstreamCxDestroy), 0);
}

#[tokio::test]
async fn a_complete_answer_ends_a_request_that_is_not() {
    let address = Backend::new().await.serve(|mut peer| async move {
        peer.head().await;
        peer.write("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await;
        while peer.head().await.is_some() {}
    });
    let bed = Bed::new(&[address]);
    let (sender, body) = body();
    let mut flow = flow(Method::POST, "/");
    let response = bed.send(&mut flow, body).await.unwrap();
    assert_eq!(response.status().as_u16(), 413);
    assert!(!response.headers().contains_key("x-envoy-upstream-service-time"), "the request was not complete");
    drop((response, sender));
    gone(&bed).await;
}

/// All connections are closed.
async fn gone(bed: &Bed) {
    for _ in 0..500 {
        if bed.pools.connections() == 0 && bed.stat(ClusterStat::UpstreamCxDestroy) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} connections are still open", bed.pools.connections());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let rows = ["content-length: 5\r\n\r\nab", "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n"];
    for rest in rows {
        let address = Backend::new().await.serve(move |mut peer| async move {
            peer.head().await;
            peer.write("HTTP/1.1 200 OK\r\n").await;
            peer.write(rest).await;
        });
        let bed = Bed::new(&[address]);
        let mut body = bed.get().await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        let error = body.frame().await.unwrap().unwrap_err();
        let BodyError::Upstream(flag, details) = error else { panic!("{error:?}") };
        assert_eq!(flag.short(), "UPE");
        assert_eq!(&*details, "upstream_reset_after_response_started{protocol_error}");
        assert_eq!(bed.stat(ClusterStat::UpstreamCxProtocolError), 1);
        gone(&bed).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_along() {
    let address = Backend::new().await.serve(|mut peer| async move {
        peer.head().await;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab").await;
        while peer.head().await.is_some() {}
    });
    let bed = Bed::new(&[address]);
    let mut body = bed.get().await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    gone(&bed).await;
    // The same before the answer.
    let silent = Backend::new().await.serve(|mut peer| async move { while peer.head().await.is_some() {} });
    let bed = Bed::new(&[silent]);
    assert!(tokio::time::timeout(Duration::from_millis(50), bed.get()).await.is_err());
    gone(&bed).await;
    assert_eq!(bed.cluster().stats().gauge(ClusterStat::UpstreamRqActive), 0);
    assert_eq!(bed.cluster().stats().gauge(ClusterStat::UpstreamCxActive), 0);
}

#[tokio::test]
async fn a_client_that_breaks_off_is_not_the_endpoints_fault() {
    let address = Backend::new().await.serve(|mut peer| async move { while peer.head().await.is_some() {} });
    let mut bed = Bed::new(&[address]);
    bed.route = forward("retry_policy: {retry_on: reset}");
    let (sender, body) = body();
    sender.send(Err(BodyError::Disconnected)).unwrap();
    let reply = bed.send(&mut flow(Method::POST, "/"), body).await.unwrap_err();
    assert_eq!((reply.flags.short().as_str(), bed.stat(ClusterStat::UpstreamRqRetry)), ("DC", 0));
}

#[tokio::test]
async fn the_route_has_its_time_in_the_midst_of_an_answer() {
    let address = Backend::new().await.serve(|mut peer| async move {
        peer.head().await;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab").await;
        while peer.head().await.is_some() {}
    });
    let mut bed = Bed::new(&[address]);
    bed.route = forward("timeout: 0.05s");
    let mut body = bed.get().await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error, BodyError::Upstream(Flag::UpstreamRequestTimeout, "response_timeout".into()));
    assert_eq!(bed.stat(ClusterStat::UpstreamRqTimeout), 1);
    gone(&bed).await;
}

#[tokio::test]
async fn trailers_of_requests_are_passed_on() {
    let backend = Backend::new().await;
    let bed = Bed::new(&[backend.address]);
    let seen = tokio::spawn(async move {
        let mut peer = backend.accept().await;
        peer.head().await;
        let body = peer.head().await.unwrap();
        peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        body
    });
    let (sender, body) = body();
    sender.send(Ok(Frame::data("ab".into()))).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-t", HeaderValue::from_static("1"));
    sender.send(Ok(Frame::trailers(trailers))).unwrap();
    drop(sender);
    let flow = with_header(flow(Method::POST, "/"), "trailer", "x-t");
    let mut flow = with_header(flow, "te", "trailers");
    bed.send(&mut flow, body).await.unwrap();
    assert_eq!(seen.await.unwrap(), "2\r\nab\r\n0\r\nx-t: 1\r\n\r\n");
}

#[tokio::test]
async fn mirrors_get_a_copy_and_nobody_waits_for_them() {
    let backend = Backend::new().await;
    let mut bed = Bed::new(&[backend.address]);
    // To the same cluster: the second connection is the copy's.
    bed.route = forward("request_mirror_policies: [{cluster: backend}]");
    let seen = tokio::spawn(async move {
        let mut heads = Vec::new();
        for _ in 0..2 {
            let mut peer = backend.accept().await;
            let head = peer.head().await.unwrap();
            let body = peer.head().await.unwrap();
            // The copy is never answered.
            if !head.contains("-shadow") {
                peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
            }
            heads.push((peer, head, body));
        }
        heads
    });
    let (sender, body) = body();
    sender.send(Ok(Frame::data("ab".into()))).unwrap();
    drop(sender);
    assert_eq!(bed.send(&mut flow(Method::POST, "/"), body).await.unwrap().status(), StatusCode::NO_CONTENT);
    let mut hosts = Vec::new();
    for (_, head, body) in seen.await.unwrap() {
        assert_eq!(body, "2\r\nab\r\n0\r\n\r\n");
        hosts.push(head.split("host: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned());
    }
    hosts.sort();
    assert_eq!(hosts, ["a.example", "a.example-shadow"]);
}
