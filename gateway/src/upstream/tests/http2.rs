use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use config::model::cluster::UpstreamProtocol;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::report::http::{HttpFlow, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::*;
use crate::upstream::Way;

type Answer = Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>;

fn full(text: &'static str) -> http_body_util::combinators::BoxBody<Bytes, Infallible> {
    Full::new(Bytes::from_static(text.as_bytes())).boxed()
}

/// A server that speaks HTTP/2 at once.
async fn server<F>(streams: u32, answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> SocketAddr
where
    F: Future<Output = Answer> + Send + 'static,
{
    Backend::new().await.serve(move |peer| {
        let answer = answer.clone();
        async move {
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(streams).enable_connect_protocol();
            drop(builder.serve_connection(TokioIo::new(peer.0), service).await);
        }
    })
}

fn bed(address: SocketAddr) -> Bed {
    Bed::with(&[address], |config| {
        if let Some(http) = config.http.as_deref_mut() {
            http.protocol = UpstreamProtocol::Http2;
        }
    })
}

#[tokio::test]
async fn one_connection_carries_all_with_pseudo_headers_and_trailers() {
    let address = server(100, |request| async move {
        assert_eq!(request.uri(), "http://a.example/p");
        assert!(!request.headers().contains_key("host"));
        let sent = request.into_body().collect().await.unwrap();
        assert_eq!(sent.trailers().unwrap()["x-sent"], "1");
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = Full::new(sent.to_bytes()).with_trailers(async move { Some(Ok(trailers)) });
        Response::new(body.boxed())
    })
    .await;
    let bed = bed(address);
    for _ in 0..5 {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sent", HeaderValue::from_static("1"));
        let body = Full::new(Bytes::from_static(b"hello")).with_trailers(async move { Some(Ok(trailers)) });
        let body = Body::boxed(body.map_err(|error: Infallible| match error {}));
        let mut flow = with_header(flow(Method::POST, "/p"), "content-type", "application/grpc");
        let response = bed.send(&mut flow, body).await.unwrap();
        let answer = response.into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(answer.to_bytes(), "hello");
    }
    assert_eq!(bed.stat(ClusterStat::UpstreamCxHttp2Total), 1);
    let host = Arc::clone(bed.cluster().hosts().hosts().next().unwrap());
    assert_eq!(host.ended(proxy::upstream::End::Success), 5);
}

#[tokio::test]
async fn more_at_a_time_than_the_peer_allows_take_another_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let address = server(2, move |_| {
        let gate = Arc::clone(&gate);
        async move {
            drop(gate.acquire().await);
            Response::new(full("ok"))
        }
    })
    .await;
    let bed = bed(address);
    // So that the SETTINGS are known.
    opened.add_permits(1);
    text(bed.get().await.unwrap()).await;
    opened.forget_permits(1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let all = async { tokio::join!(bed.get(), bed.get(), bed.get(), bed.get()) };
    let ((a, b, c, d), ()) = tokio::join!(all, async {
        for _ in 0..500 {
            if bed.cluster().stats().gauge(ClusterStat::UpstreamRqActive) == 4 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        opened.add_permits(10);
    });
    for answer in [a, b, c, d] {
        assert_eq!(text(answer.unwrap()).await, "ok");
    }
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 2);
}

#[tokio::test]
async fn a_client_that_goes_away_resets_its_stream_only() {
    let address = server(100, |request| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Response::new(full("ok"))
    })
    .await;
    let bed = bed(address);
    let mut slow = flow(Method::GET, "/slow");
    assert!(tokio::time::timeout(Duration::from_millis(50), bed.send(&mut slow, Body::Empty)).await.is_err());
    assert_eq!(text(bed.get().await.unwrap()).await, "ok");
    assert_eq!(bed.stat(ClusterStat::UpstreamCxTotal), 1);
    assert_eq!(bed.cluster().stats().gauge(ClusterStat::UpstreamRqActive), 0);
}

#[tokio::test]
async fn a_connection_that_says_goodbye_is_followed_by_another() {
    let address = Backend::new().await.serve(|peer| async move {
        let served = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&served);
        let service = service_fn(move |_: Request<Incoming>| {
            told.notify_one();
            async move { Ok::<_, Infallible>(Response::new(full("ok"))) }
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(peer.0), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = served.notified() => connection.as_mut().graceful_shutdown(),
        }
        drop(connection.await);
    });
    let bed = bed(address);
    for _ in 0..20 {
        assert_eq!(text(bed.get().await.unwrap()).await, "ok");
    }
    assert!(bed.stat(ClusterStat::UpstreamCxTotal) > 1);
}

/// Two ends of a client's connection after an upgrade: hyper's, and ours.
async fn client() -> (hyper::upgrade::OnUpgrade, tokio::io::DuplexStream) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let upgrade = hyper::upgrade::on(&mut request);
        drop(sender.lock().unwrap().take().unwrap().send(upgrade));
        let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "x");
        async move { Ok::<_, Infallible>(response.body(full("")).unwrap()) }
    });
    tokio::spawn(async move {
        let builder = hyper::server::conn::http1::Builder::new();
        drop(builder.serve_connection(TokioIo::new(far), service).with_upgrades().await);
    });
    let mut near = near;
    near.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await.unwrap();
    let upgrade = receiver.await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await.unwrap());
    }
    (upgrade, near)
}

fn websocket(client: Protocol) -> HttpFlow {
    let mut flow = flow(Method::GET, "/ws");
    flow.protocol = client;
    if client == Protocol::Http2 {
        flow.request.method = Method::CONNECT;
        flow.request.protocol = Some("websocket".into());
        return flow;
    }
    with_header(with_header(flow, "connection", "upgrade"), "upgrade", "websocket")
}

/// Asks for an upgrade and has what is sent echoed.
async fn echoes(bed: &Bed, protocol: Protocol) {
    let mut tunnel = None;
    let response = bed.tunnel(&mut websocket(protocol), Body::Empty, &mut tunnel).await.unwrap();
    let (status, upgrade) = if protocol == Protocol::Http2 { (200, None) } else { (101, Some("websocket")) };
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers().get("upgrade").map(|value| value.to_str().unwrap()), upgrade);
    let (upgrade, mut near) = client().await;
    let (mut up, mut down) = (0, 0);
    let relay = tunnel.unwrap().run(upgrade, |way, n| match way {
        Way::Up => up += n,
        Way::Down => down += n,
    });
    let talk = async {
        for _ in 0..3 {
            near.write_all(b"ping").await.unwrap();
            let mut echo = [0; 4];
            near.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, b"ping");
        }
        near.shutdown().await.unwrap();
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
    };
    let (end, ()) = tokio::join!(relay, talk);
    end.unwrap();
    assert_eq!((up, down), (12, 12));
}

#[tokio::test]
async fn websockets_over_every_pair_of_versions() {
    let one = Backend::new().await.serve(|mut peer| async move {
        let head = peer.head().await.unwrap();
        assert!(head.starts_with("GET /ws HTTP/1.1\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
        peer.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
        let (mut reader, mut writer) = peer.0.split();
        drop(tokio::io::copy(&mut reader, &mut writer).await);
        drop(writer.shutdown().await);
    });
    let two = server(100, |mut request| async move {
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.extensions().get::<hyper::ext::Protocol>().unwrap().as_str(), "websocket");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            drop(tokio::io::copy(&mut reader, &mut writer).await);
            drop(writer.shutdown().await);
        });
        Response::new(full(""))
    })
    .await;
    for (address, is_http2) in [(one, false), (two, true)] {
        for protocol in [Protocol::Http11, Protocol::Http2] {
            let bed = if is_http2 { bed(address) } else { Bed::new(&[address]) };
            echoes(&bed, protocol).await;
            assert_eq!(bed.cluster().stats().gauge(ClusterStat::UpstreamRqActive), 0);
        }
    }
}

#[tokio::test]
async fn a_connect_may_end_here() {
    let address = Backend::new().await.serve(|mut peer| async move {
        let (mut reader, mut writer) = peer.0.split();
        drop(tokio::io::copy(&mut reader, &mut writer).await);
    });
    let mut bed = Bed::new(&[address]);
    bed.route = forward("upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]");
    let mut tunnel = None;
    let mut connect = flow(Method::CONNECT, "/");
    let response = bed.tunnel(&mut connect, Body::Empty, &mut tunnel).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let (upgrade, mut near) = client().await;
    let talk = async {
        near.write_all(b"ping").await.unwrap();
        let mut echo = [0; 4];
        near.read_exact(&mut echo).await.unwrap();
        near.shutdown().await.unwrap();
        near.read(&mut [0; 1]).await.unwrap()
    };
    let (end, rest) = tokio::join!(tunnel.unwrap().run(upgrade, |_, _| {}), talk);
    assert_eq!((end.is_ok(), rest), (true, 0));
}

#[tokio::test]
async fn an_upgrade_that_is_refused_is_an_answer() {
    let address = Backend::new().await.answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    let bed = Bed::new(&[address]);
    let mut tunnel = None;
    let response = bed.tunnel(&mut websocket(Protocol::Http11), Body::Empty, &mut tunnel).await.unwrap();
    assert_eq!((response.status().as_u16(), tunnel.is_none()), (403, true));
    assert_eq!(text(response).await, "no");
}

#[tokio::test]
async fn nobody_switches_unasked() {
    let address =
        Backend::new().await.answer("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    let reply = Bed::new(&[address]).get().await.unwrap_err();
    assert_eq!((reply.status.as_u16(), reply.flags.short().as_str()), (502, "UPE"));
}
