//! The readiness reporter of `kuma-dp`: an HTTP server that answers `/ready` and nothing else.
//!
//! Probes reach it over the pod's network, so no part of the admin server may be reachable here
//! (Kuma `app/kuma-dp/pkg/dataplane/readiness/component.go`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::drain::Watch;
use super::ready::{Readiness, State};
use crate::system::reply::{self, Body};
use crate::system::serve::{self, Handler, Limits};
use crate::system::socket::Socket;

/// Go's `IdleTimeout` and `WriteTimeout` there; its `ReadHeaderTimeout` of 1 s would also end idle connections here.
const LIMITS: Limits =
    Limits { head: Duration::from_secs(120), idle: Duration::from_secs(120), stall: Duration::from_secs(30) };

/// Where `kuma-dp` listens: the admin server's address; when that is a Unix socket, every address in Kubernetes
/// (`POD_NAME` is set: probes come from the node) and loopback elsewhere, of the family of `networking.address`.
pub fn address(admin: Option<IpAddr>, in_kubernetes: bool, ipv6: bool, port: u16) -> SocketAddr {
    let ip = match (admin, in_kubernetes, ipv6) {
        (Some(ip), _, _) => ip,
        (None, true, true) => Ipv6Addr::UNSPECIFIED.into(),
        (None, true, false) => Ipv4Addr::UNSPECIFIED.into(),
        (None, false, true) => Ipv6Addr::LOCALHOST.into(),
        (None, false, false) => Ipv4Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, port)
}

/// Answers until the future is dropped. `watch` ends the connections.
pub async fn serve(socket: Socket, readiness: Readiness, watch: Watch) {
    let reporter = Reporter { readiness };
    loop {
        let incoming = socket.accept().await;
        let (reporter, watch) = (reporter.clone(), watch.clone());
        tokio::spawn(async move { serve::serve(incoming.io, reporter, LIMITS, &watch).await });
    }
}

#[derive(Clone)]
struct Reporter {
    readiness: Readiness,
}

impl Handler for Reporter {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            "/ready" => self.ready(),
            _ => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }
}

impl Reporter {
    fn ready(&self) -> Response<Body> {
        if self.readiness.is_terminating() {
            return state(StatusCode::SERVICE_UNAVAILABLE, "TERMINATING");
        }
        match self.readiness.state() {
            State::Live => state(StatusCode::OK, "READY"),
            State::Draining | State::PreInitializing | State::Initializing => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "envoy not ready\n")
            }
        }
    }
}

/// As `writeState` there.
fn state(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = reply::text(status, text);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert("x-powered-by", HeaderValue::from_static("kuma-dp"));
    response
}

/// As Go's `http.Error`.
fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = reply::text(status, text);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use config::model::address::Address;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::lifecycle::drain::Drain;
    use crate::system::socket::Options;

    async fn get(at: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn says_ready_terminating_or_nothing_at_all() {
        let socket = Socket::bind(&Address::Socket("127.0.0.1:0".parse().unwrap()), Options::default()).unwrap();
        let Address::Socket(at) = *socket.address() else { panic!("no TCP") };
        let (readiness, start) = Readiness::new();
        let (_trigger, watch) = Drain::new();
        tokio::spawn(serve(socket, readiness.clone(), watch));
        let answer = get(at, "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nenvoy not ready\n"), "{answer}");
        drop(start);
        let answer = get(at, "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nREADY"), "{answer}");
        for line in ["content-type: text/plain\r", "cache-control: no-cache, max-age=0", "x-powered-by: kuma-dp"] {
            assert!(answer.contains(line), "{line} in {answer}");
        }
        for path in ["/config_dump", "/", "/ready/", "/ready/../stats", "/readyz"] {
            assert!(get(at, path).await.starts_with("HTTP/1.1 404 "), "{path}");
        }
        readiness.terminate();
        let answer = get(at, "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("TERMINATING"), "{answer}");
    }

    #[test]
    fn listens_where_kuma_dp_does() {
        let of = |admin: Option<&str>, kubernetes, ipv6| {
            address(admin.map(|ip| ip.parse().unwrap()), kubernetes, ipv6, 9902).to_string()
        };
        assert_eq!(of(Some("127.0.0.1"), true, false), "127.0.0.1:9902");
        assert_eq!(of(None, true, false), "0.0.0.0:9902");
        assert_eq!(of(None, true, true), "[::]:9902");
        assert_eq!(of(None, false, false), "127.0.0.1:9902");
        assert_eq!(of(None, false, true), "[::1]:9902");
    }
}
