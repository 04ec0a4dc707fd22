//! Both codecs, and what HTTP/1 looks like when it is none.

use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::metrics::HttpStat;

use super::world::World;
use crate::http::chain::Place;

const GET: &str = "GET /a HTTP/1.1\r\nhost: a.example\r\n\r\n";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn requests_follow_each_other_on_a_connection() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    for _ in 0..3 {
        client.send(GET).await;
        let answer = client.answer().await;
        assert_eq!(status(&answer), "404", "{answer}");
        assert!(answer.contains("server: envoy\r\n") && !answer.contains("connection:"), "{answer}");
    }
    client.send([GET, GET].concat()).await;
    assert_eq!(status(&client.answer().await), "404");
    assert_eq!(status(&client.answer().await), "404");
    client.ended().await;
    let stats = &world.chain.stats;
    assert_eq!(stats.get(HttpStat::DownstreamRqTotal), 5);
    assert_eq!(stats.get(HttpStat::DownstreamRq4xx), 5);
    assert_eq!(stats.gauge(HttpStat::DownstreamRqActive), 0);
    assert_eq!(stats.gauge(HttpStat::DownstreamCxActive), 0);
    assert_eq!(stats.gauge(HttpStat::DownstreamCxHttp1Active), 0);
}

/// What follows a request for another protocol is not looked at, so that it must not become a request.
#[tokio::test]
async fn an_upgrade_that_is_refused_is_the_last_request() {
    const UPGRADE: &str = "GET /u HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    const TWO_HOSTS: &str = "GET /b HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\n\r\n";
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.send([GET, UPGRADE, TWO_HOSTS].concat()).await;
    let answer = client.answer().await;
    assert!(status(&answer) == "404" && !answer.contains("connection: close"), "{answer}");
    let answer = client.answer().await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    client.ended().await;
    assert_eq!(world.chain.stats.get(HttpStat::DownstreamRqTotal), 2);
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    for byte in GET.as_bytes().chunks(1) {
        client.send(byte).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&client.answer().await), "404");
}

#[tokio::test]
async fn http2_is_told_by_its_preface() {
    let world = World::new(|_| {});
    let client = world.connect();
    let io = TokioIo::new(client.stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::get("http://a.example/a").body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["server"], "envoy");
    }
    assert_eq!(world.chain.stats.get(HttpStat::DownstreamRqHttp2Total), 3);
}

/// What is no HTTP/1, or not the same to everybody: the answer, and then the end.
#[tokio::test]
async fn nonsense_is_refused_and_ends_the_connection() {
    let rows: &[(&str, &str)] = &[
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.0\r\nhost: a\r\n\r\n", "426"),
        ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", "426"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\nhost: a\n\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r2\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n", "400"),
        ("GET /#f HTTP/1.1\r\nhost: a\r\n\r\n", "400"),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", "400"),
        ("FETCH / HTTP/1.1\r\nhost: a\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\nx", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "501",
        ),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", "400"),
        ("GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", "400"),
        ("GET http://u@a/ HTTP/1.1\r\nhost: a\r\n\r\n", "400"),
    ];
    for (request, expected) in rows {
        let world = World::new(|_| {});
        let mut client = world.connect();
        client.send(request).await;
        let text = client.rest().await;
        assert_eq!(status(&text), *expected, "{request:?}: {text}");
        assert_eq!(text.matches("HTTP/1.").count(), 1, "{request:?}: {text}");
    }
}

#[tokio::test]
async fn too_much_of_a_head_is_refused() {
    let world = World::new(|_| {});
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = "a".repeat(60 * 1024);
    for head in [format!("{many}\r\n"), format!("x: {large}\r\n\r\n"), format!("x: {large}")] {
        let mut client = world.connect();
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{head}")).await;
        let text = client.rest().await;
        assert_eq!(status(&text), "431", "{text}");
    }
}

#[tokio::test]
async fn what_follows_a_refused_head_is_not_read() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.send([GET, "GET /\r\n\r\n", GET].concat()).await;
    let text = client.rest().await;
    let statuses: Vec<_> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["404", "400"], "{text}");
}

#[tokio::test]
async fn a_request_for_another_host_is_misdirected() {
    let hosts = ["a.example".into(), "*.b.example".into()].into();
    let world = World::at(Place { hosts, ..Place::default() }, |_| {});
    let mut client = world.connect();
    let rows = [
        ("a.example", "404"),
        ("A.Example.:8443", "404"),
        ("x.y.b.example", "404"),
        ("b.example", "421"),
        (".b.example", "421"),
        ("xa.example", "421"),
        ("[::1]:8443", "421"),
    ];
    for (host, expected) in rows {
        client.send(format!("GET /a HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(status(&client.answer().await), expected, "{host}");
    }
}
