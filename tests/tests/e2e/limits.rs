//! Connections that are one too many.

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{any_chain, bootstrap, chain, cluster, listener, local_ratelimit, merged, tcp_proxy};
use tests::client::{Outcome, connect, line, linger, read_to_end, visit};
use tests::compare::compare;
use tests::hello::Hello;
use tests::wait::within;
use tokio::io::AsyncWriteExt;

use crate::story::{IN, tell};

const NAME: &str = "one.test";

/// `local_ratelimit` lets two through and then closes.
#[tokio::test]
async fn rate() {
    let backend = Backend::echo("one").await;
    let story = compare(
        |site| {
            let chain = merged(
                chain(&[NAME], Value::Null),
                json!({"filters": [local_ratelimit(2, "3600s"), tcp_proxy("one", json!({}))]}),
            );
            let clusters = [cluster("one", &[backend.address()], json!({}))];
            bootstrap(site, &[listener("in", site.at(IN), &[chain])], &clusters)
        },
        async |proxy| {
            tell(proxy, 0, async |p| {
                let mut seen = Vec::new();
                for _ in 0..2 {
                    seen.push(visit(p.at(IN), &Hello::to(NAME)).await);
                }
                for _ in 0..2 {
                    seen.push(linger(p.at(IN), &Hello::to(NAME).bytes()).await);
                }
                seen
            })
            .await
        },
    )
    .await;
    let served = Outcome::Served("one".into());
    assert_eq!(story.seen, [served.clone(), served, Outcome::Closed, Outcome::Closed]);
    let limited = "envoy_local_rate_limit_rate_limited{envoy_local_network_ratelimit_prefix=\"limited\"}";
    assert_eq!(story.change(limited), 2.0, "{story:#?}");
}

/// Connections of the whole process: two may be open.
#[tokio::test]
async fn of_the_process() {
    let backend = Backend::echo("one").await;
    let story = compare(
        |site| {
            let listener = listener("in", site.at(IN), &[any_chain(tcp_proxy("one", json!({})))]);
            let clusters = [cluster("one", &[backend.address()], json!({}))];
            merged(bootstrap(site, &[listener], &clusters), global_limit(2))
        },
        async |proxy| {
            tell(proxy, 0, async |p| {
                let mut open = Vec::new();
                for _ in 0..2 {
                    let mut stream = connect(p.at(IN)).await;
                    stream.write_all(&Hello::to(NAME).bytes()).await.unwrap();
                    within("the banner", line(&mut stream)).await.unwrap();
                    open.push(stream);
                }
                let third = linger(p.at(IN), &Hello::to(NAME).bytes()).await;
                for stream in &mut open {
                    stream.shutdown().await.unwrap();
                    read_to_end(stream).await;
                }
                p.quiet_stats().await;
                (third, visit(p.at(IN), &Hello::to(NAME)).await)
            })
            .await
        },
    )
    .await;
    assert_eq!(story.seen, (Outcome::Closed, Outcome::Served("one".into())));
    let overflow = "envoy_listener_downstream_global_cx_overflow{envoy_listener_address=\"SITE_10000\"}";
    assert_eq!(story.change(overflow), 1.0, "{story:#?}");
}

fn global_limit(connections: u32) -> Value {
    let monitor = json!({
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": tests::bootstrap::kind(
                "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"),
            "max_active_downstream_connections": connections,
        },
    });
    // Envoy's admin interface would count too.
    json!({"overload_manager": {"resource_monitors": [monitor]}, "admin": {"ignore_global_conn_limit": true}})
}
