//! The PROXY protocol towards endpoints (`envoy.transport_sockets.upstream_proxy_protocol`): the first bytes that they see.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{any_chain, bootstrap, cluster, kind, listener, merged, tcp_proxy};
use tests::ca::{Authority, Wanted};
use tests::compare::compare_as;
use tests::process::{Kind, Proxy, Site};
use tests::tls;
use tests::wait::{until, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::story::IN;

const NAME: &str = "backend.test";
const TLV: u8 = 0xea;

/// An endpoint behind the PROXY protocol that answers requests of HTTP/1, and the headers that it got.
struct Introduced {
    backend: Backend,
    headers: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Introduced {
    async fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let headers = Arc::<Mutex<Vec<_>>>::default();
        let seen = Arc::clone(&headers);
        let backend = Backend::start(move |mut stream| {
            let (tls, seen) = (tls.clone().map(TlsAcceptor::from), Arc::clone(&seen));
            async move {
                let header = header(&mut stream).await?;
                seen.lock().unwrap().push(header);
                match tls {
                    None => answer(stream).await,
                    Some(tls) => answer(tls.accept(stream).await?).await,
                }
            }
        })
        .await;
        Self { backend, headers }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.headers.lock().unwrap())
            .iter()
            .map(|bytes| bytes.escape_ascii().to_string())
            .collect()
    }
}

/// All of a header, and not a byte more.
async fn header(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut header = vec![0; 16];
    stream.read_exact(&mut header).await?;
    if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\r\n") {
            header.push(stream.read_u8().await?);
        }
    } else {
        let mut rest = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
        stream.read_exact(&mut rest).await?;
        header.extend(rest);
    }
    Ok(header)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut head = Vec::new();
    while stream.read_buf(&mut head).await? > 0 {
        if head.ends_with(b"\r\n\r\n") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
            head.clear();
        }
    }
    Ok(())
}

/// One connection that says it is from `client` (or nothing, where that is empty), and so many requests on it.
async fn ask(proxy: SocketAddr, client: &str, requests: usize) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    if !client.is_empty() {
        stream.write_all(format!("PROXY {client}\r\n").as_bytes()).await.unwrap();
    }
    for _ in 0..requests {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\nok") {
            let n = within("an answer", stream.read_buf(&mut text)).await.unwrap();
            assert!(n > 0, "{}", text.escape_ascii());
        }
        assert!(text.starts_with(b"HTTP/1.1 200"), "{}", text.escape_ascii());
    }
}

/// The transport socket around `inner`.
fn introduces(version: &str, inner: &Value) -> Value {
    let tlvs = json!([{"type": u32::from(TLV), "value": "YWI="}, {"type": u32::from(TLV), "value": "Yw=="}]);
    json!({"transport_socket": {
        "name": "envoy.transport_sockets.upstream_proxy_protocol",
        "typed_config": {
            "@type": kind("envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"),
            "config": {"version": version, "added_tlvs": tlvs},
            "transport_socket": inner,
        },
    }})
}

fn raw() -> Value {
    let raw = kind("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer");
    json!({"name": "envoy.transport_sockets.raw_buffer", "typed_config": {"@type": raw}})
}

fn http(cluster: &str, more: Value) -> Value {
    let router =
        json!({"name": "r", "typed_config": {"@type": kind("envoy.extensions.filters.http.router.v3.Router")}});
    let mirrors = json!([{"cluster": "mirror"}]);
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": cluster, "request_mirror_policies": mirrors}});
    let manager = json!({
        "@type": kind("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    });
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": merged(manager, more)})
}

/// Listeners from port `IN` on, each with one chain of one of these filters, behind the PROXY protocol.
fn listeners(site: &Site, filters: &[Value]) -> Vec<Value> {
    let inspector = json!({
        "name": "envoy.filters.listener.proxy_protocol",
        "typed_config": {"@type": kind("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol")},
    });
    let make = |(port, filter): (u16, &Value)| {
        let plain = listener(&format!("in{port}"), site.at(port), &[any_chain(filter.clone())]);
        merged(plain, json!({"listener_filters": [inspector]}))
    };
    (IN..).zip(filters).map(make).collect()
}

const CLIENT: &str = "TCP4 192.0.2.7 198.51.100.1 5000 443";
const CLIENT6: &str = "TCP6 2001:db8::7 2001:db8::1 5000 443";

/// What endpoints get for one client of IPv4 and one of IPv6: of each version, in the clear and before TLS.
#[tokio::test]
async fn endpoints_learn_who_the_client_is() {
    let authority = Authority::new();
    let leaf = authority.issue_as(&Wanted::server(NAME));
    let plain = Introduced::start(None).await;
    let secure = Introduced::start(Some(Authority::plain_server(&leaf))).await;
    let mirror = Introduced::start(None).await;
    let inner = tls::upstream(tls::trusts(&[&authority], json!({})), json!({"sni": NAME}))["transport_socket"].clone();
    let seen = compare_as(
        Kind::Gateway,
        |site| {
            let to = |name, of: &Introduced, socket| cluster(name, &[of.backend.address()], socket);
            let clusters = [
                to("v1", &plain, introduces("V1", &raw())),
                to("v2", &plain, introduces("V2", &raw())),
                to("v1s", &secure, introduces("V1", &inner)),
                to("v2s", &secure, introduces("V2", &inner)),
                to("mirror", &mirror, introduces("V2", &raw())),
            ];
            let of_tcp = ["v1", "v2", "v1s", "v2s"].map(|name| tcp_proxy(name, json!({})));
            let of_http = ["v1", "v2", "v1s", "v2s"].map(|name| http(name, json!({})));
            bootstrap(site, &listeners(site, &[of_tcp, of_http].concat()), &clusters)
        },
        async |proxy: &mut Proxy| {
            for port in IN..IN + 8 {
                ask(proxy.at(port), CLIENT, 2).await;
                ask(proxy.at(port), CLIENT6, 1).await;
            }
            let mut mirrored = Vec::new();
            until("the mirrors", async || {
                mirrored.extend(mirror.take());
                (mirrored.len() >= 2).then_some(())
            })
            .await;
            mirrored.dedup();
            (plain.take(), secure.take(), mirrored)
        },
    )
    .await;
    let v2 = |family: &str, addresses: &str| {
        format!(r"\r\n\r\n\x00\r\nQUIT\n!{family}{addresses}\x13\x88\x01\xbb\xea\x00\x02ab\xea\x00\x01c")
    };
    let expected = [
        format!(r"PROXY {CLIENT}\r\n"),
        format!(r"PROXY {CLIENT6}\r\n"),
        v2(r"\x11\x00\x15", r"\xc0\x00\x02\x07\xc63d\x01"),
    ];
    assert_eq!((&seen.0[..3], &seen.1[..3]), (&expected[..], &expected[..]));
    assert_eq!((seen.0.len(), seen.1.len()), (8, 8));
    assert_eq!((&seen.0[4..], &seen.1[4..]), (&seen.0[..4], &seen.1[..4]), "HTTP as TCP");
    assert_eq!(seen.2, [r"\r\n\r\n\x00\r\nQUIT\n \x00\x00\x00"], "a mirror's request is nobody's");
}

/// A connection to an endpoint is for one client alone; where clients are not told, it is everybody's.
#[tokio::test]
async fn connections_are_not_shared_between_clients() {
    let backend = Introduced::start(None).await;
    let mirror = Introduced::start(None).await;
    let (told, nobodys) = compare_as(
        Kind::Gateway,
        |site| {
            let at = &[backend.backend.address()];
            let clusters = [
                cluster("v2", at, introduces("V2", &raw())),
                cluster("mirror", &[mirror.backend.address()], introduces("V2", &raw())),
            ];
            let silent = json!({"add_proxy_protocol_connection_state": false});
            let mut all = listeners(site, &[http("v2", json!({}))]);
            all.push(merged(
                listener("silent", site.at(IN + 1), &[any_chain(http("v2", silent))]),
                json!({"listener_filters": []}),
            ));
            bootstrap(site, &all, &clusters)
        },
        async |proxy: &mut Proxy| {
            for client in 5000..5006 {
                ask(proxy.at(IN), &format!("TCP4 192.0.2.7 198.51.100.1 {client} 443"), 2).await;
            }
            let told = backend.take();
            for _ in 0..6 {
                ask(proxy.at(IN + 1), "", 1).await;
            }
            let mut nobodys = backend.take();
            // Each worker has a connection of its own.
            nobodys.dedup();
            (told, nobodys)
        },
    )
    .await;
    assert_eq!(told.len(), 6, "{told:#?}");
    assert!(told.iter().zip(&told[1..]).all(|(one, next)| one != next), "{told:#?}");
    assert_eq!(nobodys, [r"\r\n\r\n\x00\r\nQUIT\n \x00\x00\x00"]);
}

/// Health checks are our own connections.
#[tokio::test]
async fn health_checks_have_no_client() {
    let backend = Introduced::start(None).await;
    let seen = compare_as(
        Kind::Gateway,
        |site| {
            let check = json!([{"timeout": "5s", "interval": "60s", "unhealthy_threshold": 1, "healthy_threshold": 1,
                "http_health_check": {"path": "/"}}]);
            let more = merged(introduces("V2", &raw()), json!({"health_checks": check}));
            bootstrap(site, &[], &[cluster("v2", &[backend.backend.address()], more)])
        },
        async |_: &mut Proxy| {
            let seen = async || Some(backend.take()).filter(|seen| !seen.is_empty());
            until("a health check", seen).await
        },
    )
    .await;
    assert_eq!(seen, [r"\r\n\r\n\x00\r\nQUIT\n \x00\x00\x00"]);
}
