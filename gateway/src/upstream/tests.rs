#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use http::StatusCode;
use proxy::report::http::Flag;

use super::testing::{Backend, Bed, text};

#[tokio::test]
async fn a_request_gets_its_answer() {
    let address = Backend::new()
        .await
        .answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\nconnection: keep-alive\r\n\r\nhi");
    let bed = Bed::new(&[address]);
    let response = bed.get().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-a"], "b");
    assert!(response.headers().contains_key("x-envoy-upstream-service-time"));
    assert!(!response.headers().contains_key("connection"));
    assert_eq!(text(response).await, "hi");
}

#[tokio::test]
async fn nobody_there() {
    let backend = Backend::new().await;
    let address = backend.address;
    drop(backend);
    let bed = Bed::new(&[address]);
    let reply = bed.get().await.unwrap_err();
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.flags.has(Flag::UpstreamConnectionFailure));
    let bed = Bed::new(&[]);
    let reply = bed.get().await.unwrap_err();
    assert_eq!((&*reply.body, &*reply.details), ("no healthy upstream", "no_healthy_upstream"));
}
