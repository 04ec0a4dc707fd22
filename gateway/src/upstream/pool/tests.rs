#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use http::StatusCode;
use proxy::metrics::ClusterStat;
use tokio::time::timeout;

use crate::upstream::testing::{Backend, Bed, text};

const LONG: Duration = Duration::from_secs(10);

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
