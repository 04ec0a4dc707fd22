//! The PROXY protocol before the ClientHello (haproxy's proxy-protocol.txt).

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{access_log, bootstrap, chain, cluster, kind, listener, merged, tcp_proxy, tls_inspector};
use tests::client::{Outcome, exchange, linger};
use tests::compare::compare;
use tests::hello::Hello;
use tests::process::{Proxy, Site};

use crate::story::{IN, Story, tell};

const NAME: &str = "one.test";
const ADDRESSES: &str =
    "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%";

fn expecting(site: &Site, backend: &Backend, settings: Value) -> Value {
    let header = json!({
        "name": "envoy.filters.listener.proxy_protocol",
        "typed_config": merged(
            json!({"@type": kind("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol")}), settings),
    });
    let chains = [chain(&[NAME], tcp_proxy("one", json!({"access_log": access_log(site, ADDRESSES)})))];
    let listener = merged(listener("in", site.at(IN), &chains), json!({"listener_filters": [header, tls_inspector()]}));
    bootstrap(site, &[listener], &[cluster("one", &[backend.address()], json!({}))])
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length, addresses].concat()
}

/// Sends this header and a hello; the backend must get the hello alone.
async fn behind(proxy: &Proxy, header: &[u8]) -> Outcome {
    let hello = Hello::to(NAME).bytes();
    match exchange(proxy.at(IN), &[header, &hello].concat()).await {
        Outcome::Answer(bytes) if bytes.strip_prefix(b"one\n") == Some(&hello) => Outcome::Served("one".into()),
        other => other,
    }
}

async fn accepted(header: &[u8], settings: Value) -> Story<Outcome> {
    let backend = Backend::echo("one").await;
    compare(
        |site| expecting(site, &backend, settings.clone()),
        async |proxy| {
            let mut story = tell(proxy, 1, async |p| behind(p, header).await).await;
            if header.is_empty() {
                // The client's own port is another one each time.
                story.log = vec![story.log[0].split_once(' ').unwrap().1.to_owned()];
            }
            story
        },
    )
    .await
}

#[tokio::test]
async fn version_1() {
    let story = accepted(b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n", json!({})).await;
    assert_eq!(story.seen, Outcome::Served("one".into()));
    assert_eq!(story.log, ["192.0.2.7:5000 198.51.100.1:443 127.0.0.1"]);
    let story = accepted(b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n", json!({})).await;
    assert_eq!(story.log, ["[2001:db8::7]:5000 [2001:db8::1]:443 127.0.0.1"]);
}

#[tokio::test]
async fn version_2() {
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 0x01, 0xbb];
    let story = accepted(&v2(1, 0x11, &addresses), json!({})).await;
    assert_eq!(story.seen, Outcome::Served("one".into()));
    assert_eq!(story.log, ["192.0.2.7:5000 198.51.100.1:443 127.0.0.1"]);
    // With a TLV after the addresses.
    let longer = [&addresses[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    let story = accepted(&v2(1, 0x11, &longer), json!({})).await;
    assert_eq!(story.log, ["192.0.2.7:5000 198.51.100.1:443 127.0.0.1"]);
}

#[tokio::test]
async fn absent_and_allowed() {
    let story = accepted(b"", json!({"allow_requests_without_proxy_protocol": true})).await;
    assert_eq!(story.seen, Outcome::Served("one".into()));
    assert_eq!(story.log, ["SITE:10000 127.0.0.1"]);
}

/// Absent, malformed or of a forbidden version: closed.
#[tokio::test]
async fn refused() {
    let backend = Backend::echo("one").await;
    let v1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n";
    let openings: [(&[u8], Value); 4] = [
        (b"", json!({})),
        (b"PROXY TCP4 nobody 198.51.100.1 5000 443\r\n", json!({})),
        (&v2(1, 0x11, &[1, 2, 3]), json!({})),
        (v1, json!({"disallowed_versions": ["V1"]})),
    ];
    for (header, settings) in openings {
        let story = compare(
            |site| expecting(site, &backend, settings.clone()),
            async |proxy| {
                let bytes = [header, &Hello::to(NAME).bytes()].concat();
                let story = tell(proxy, 0, async |p| linger(p.at(IN), &bytes).await).await;
                // Envoy counts a malformed header of version 1 as an error of version 2, and a forbidden one as found.
                story.without("envoy_proxy_proto_error").without("envoy_proxy_proto_found")
            },
        )
        .await;
        assert_eq!(story.seen, Outcome::Closed, "{header:?}");
    }
    assert_eq!(backend.accepted(), 0);
}
