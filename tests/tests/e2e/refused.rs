//! Connections whose first bytes lead nowhere.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{any_chain, bootstrap, chain, cluster, kind, listener, merged, tcp_proxy};
use tests::client::{Outcome, connect, exchange, hang_up, linger, read_to_end, visit};
use tests::compare::compare;
use tests::hello::Hello;
use tests::process::Site;
use tokio::io::AsyncWriteExt;

use crate::story::{IN, Story, log_to, tell};

/// One chain for `known.test`, every connection logged by the listener; `more` is merged into the listener.
fn one_name(site: &Site, backend: &Backend, more: Value) -> Value {
    let chains = [chain(&["known.test"], tcp_proxy("known", json!({})))];
    let listener = merged(listener("in", site.at(IN), &chains), json!({"access_log": log_to(site)}));
    bootstrap(site, &[merged(listener, more)], &[cluster("known", &[backend.address()], json!({}))])
}

const NO_MATCH: &str = "envoy_listener_no_filter_chain_match{envoy_listener_address=\"SITE_10000\"}";

#[tokio::test]
async fn an_unknown_name() {
    let backend = Backend::echo("known").await;
    let story = compare(
        |site| one_name(site, &backend, json!({})),
        async |proxy| tell(proxy, 1, async |p| visit(p.at(IN), &Hello::to("unknown.test")).await).await,
    )
    .await;
    assert_eq!(story.seen, Outcome::Closed);
    assert_eq!(story.change(NO_MATCH), 1.0, "{story:#?}");
    assert_eq!((story.logged(0, "flags"), story.logged(0, "sni")), ("NR", "unknown.test"));
    assert_eq!(backend.accepted(), 0);
}

/// Not TLS: HTTP, a TLS alert, SSL 2, noise, nothing at all.
#[tokio::test]
async fn no_hello() {
    let backend = Backend::echo("known").await;
    let noise: Vec<u8> = (0..600_u32).map(|n| (n * 7919 % 251) as u8).collect();
    let openings: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nhost: known.test\r\n\r\n",
        &[21, 3, 1, 0, 2, 2, 40],
        &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10],
        &noise,
    ];
    for opening in openings {
        let story = compare(
            |site| one_name(site, &backend, json!({})),
            async |proxy| tell(proxy, 1, async |p| linger(p.at(IN), opening).await).await,
        )
        .await;
        assert_eq!(story.seen, Outcome::Closed, "{opening:?}");
        assert_eq!(story.logged(0, "sni"), "-", "{opening:?}");
    }
    assert_eq!(backend.accepted(), 0);
}

/// Opened and closed, as health checks of load balancers do.
#[tokio::test]
async fn nothing_at_all() {
    let backend = Backend::echo("known").await;
    let story = compare(
        |site| one_name(site, &backend, json!({})),
        async |proxy| tell(proxy, 0, async |p| hang_up(p.at(IN)).await).await,
    )
    .await;
    assert_eq!(story.seen, Outcome::Closed);
    assert_eq!(backend.accepted(), 0);
}

/// A hello that does not come to an end in time.
#[tokio::test]
async fn too_slow() {
    let backend = Backend::echo("known").await;
    let story = compare(
        |site| one_name(site, &backend, json!({"listener_filters_timeout": "0.4s"})),
        async |proxy| {
            tell(proxy, 1, async |p| {
                let start = Instant::now();
                let hello = Hello::to("known.test").bytes();
                let outcome = linger(p.at(IN), &hello[..hello.len() / 2]).await;
                // Envoy's timers may be a little early.
                (outcome, start.elapsed() >= Duration::from_millis(300))
            })
            .await
        },
    )
    .await;
    assert_eq!(story.seen, (Outcome::Closed, true));
    let timeouts = story.change("envoy_listener_downstream_pre_cx_timeout{envoy_listener_address=\"SITE_10000\"}");
    assert_eq!(timeouts, 1.0, "{story:#?}");
}

/// `continue_on_listener_filters_timeout`: a silent client is taken by a chain that asks for no hello.
#[tokio::test]
async fn silence_continued() {
    let backend = Backend::echo("any").await;
    let seen = compare(
        |site| {
            let more = json!({"listener_filters_timeout": "0.3s", "continue_on_listener_filters_timeout": true});
            let listener = listener("in", site.at(IN), &[any_chain(tcp_proxy("any", json!({})))]);
            bootstrap(site, &[merged(listener, more)], &[cluster("any", &[backend.address()], json!({}))])
        },
        async |proxy| {
            let mut stream = connect(proxy.at(IN)).await;
            tests::wait::within("the banner", tests::client::line(&mut stream)).await.unwrap()
        },
    )
    .await;
    assert_eq!(seen, "any");
}

/// `max_client_hello_size`.
#[tokio::test]
async fn too_large() {
    let backend = Backend::echo("known").await;
    let limited = |site: &Site| {
        let inspector = json!([{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {
                "@type": kind("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"),
                "max_client_hello_size": 2000,
            },
        }]);
        one_name(site, &backend, json!({"listener_filters": inspector}))
    };
    let told = async |padding: usize| {
        let hello = Hello::to("known.test").padded(padding).bytes();
        // The end is not sent before the proxy has judged the hello: it must do so without waiting for more.
        compare(limited, async |proxy| {
            tell(proxy, 1, async |p| {
                if padding < 2000 { exchange(p.at(IN), &hello).await } else { linger(p.at(IN), &hello).await }
            })
            .await
        })
        .await
    };
    let counted = |story: Story<Outcome>| (story.change("envoy_tls_inspector_client_hello_too_large"), story.seen);
    assert_eq!(counted(told(1500).await), (0.0, Outcome::Served("known".into())));
    assert_eq!(counted(told(3000).await), (1.0, Outcome::Closed));
}

/// Hellos of every shape that TLS allows are read: byte by byte, in tiny records, as large as post-quantum ones.
#[tokio::test]
async fn any_shape_is_read() {
    let backend = Backend::echo("known").await;
    let outcomes = compare(
        |site| one_name(site, &backend, json!({})),
        async |proxy| {
            let at = proxy.at(IN);
            let mut all = Vec::new();
            for (padding, record) in [(0, 1), (0, 5), (0, 64), (2000, 100), (4000, 1 << 14), (14_000, 1 << 14)] {
                let hello = Hello::to("known.test").padded(padding).records(record);
                all.push(exchange(at, &hello).await);
            }
            let hello = Hello::to("known.test").bytes();
            let mut stream = connect(at).await;
            for byte in &hello {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream.readable().await.unwrap();
            stream.shutdown().await.unwrap();
            let read = read_to_end(&mut stream).await;
            all.push(Outcome::Answer(read.strip_prefix(b"known\n").unwrap_or(&read).to_vec()));
            assert_eq!(all.last(), Some(&Outcome::Answer(hello)));
            all.pop();
            all
        },
    )
    .await;
    assert!(outcomes.iter().all(|o| *o == Outcome::Served("known".into())), "{outcomes:?}");
}
