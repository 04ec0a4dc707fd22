//! Nothing falls through: what has no way out is refused, counted and named.

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{bootstrap, cluster, kind, listener, rbac, tcp_proxy};
use tests::client::{Outcome, linger, visit};
use tests::compare::compare_as;
use tests::hello::Hello;
use tests::process::{Kind, Proxy, Site};
use tests::story::IN;
use tests::verdict::{Verdict, call};

use crate::support::{DNS, HASH, Mesh, ends_tls, log};

/// A connection manager with a filter that is not run here.
fn scripted(cluster: &str) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": kind("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "web",
            "route_config": {"virtual_hosts": [{
                "name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}],
            }]},
            "http_filters": [{
                "name": "envoy.filters.http.lua",
                "typed_config": {
                    "@type": kind("envoy.extensions.filters.http.lua.v3.Lua"),
                    "default_source_code": {"inline_string": "function envoy_on_request(handle) end"},
                },
            }, {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": kind("envoy.extensions.filters.http.router.v3.Router")},
            }],
        },
    })
}

/// Ours alone: Envoy runs Lua.
#[tokio::test]
async fn a_filter_that_is_not_run_closes_its_own_chain_only() {
    let (mesh, origin) = (Mesh::new(), Backend::echo("origin").await);
    let client = mesh.client("spiffe://default/frontend");
    let site = Site::new();
    let chains = [
        ends_tls(HASH, mesh.socket(), &[], tcp_proxy("origin", json!({"access_log": log(&site)}))),
        ends_tls(DNS, mesh.socket(), &[], scripted("origin")),
    ];
    let origin = cluster("origin", &[origin.address()], json!({}));
    let bootstrap = bootstrap(&site, &[listener("egress", site.at(IN), &chains)], &[origin]);
    let egress = Proxy::start(Kind::Egress, site, &bootstrap).await;
    assert_ne!(call(egress.at(IN), DNS, &client).await, Verdict::Served("origin".into()));
    assert_eq!(call(egress.at(IN), HASH, &client).await, Verdict::Served("origin".into()));
    let stats = egress.quiet_stats().await;
    let unsupported: Vec<_> = stats.lines().into_iter().filter(|l| l.contains("reason=\"unsupported\"")).collect();
    assert!(unsupported.iter().any(|line| line.ends_with(" 1")), "{unsupported:?}");
    let (_, ready) = egress.get("/ready").await;
    assert!(ready.contains(DNS), "the chain is named: {ready}");
}

#[tokio::test]
async fn no_name_no_permission_no_endpoint() {
    let (mesh, origin) = (Mesh::new(), Backend::echo("origin").await);
    let client = mesh.client("spiffe://default/frontend");
    let seen = compare_as(
        Kind::Egress,
        |site| {
            let proxy = |to| tcp_proxy(to, json!({"access_log": log(site)}));
            let chains = [
                ends_tls("nobody.test", mesh.socket(), &[rbac("nobody.", &[])], proxy("origin")),
                ends_tls("empty.test", mesh.socket(), &[], proxy("empty")),
                ends_tls("gone.test", mesh.socket(), &[], proxy("gone")),
            ];
            let clusters = [cluster("origin", &[origin.address()], json!({})), cluster("empty", &[], json!({}))];
            bootstrap(site, &[listener("egress", site.at(IN), &chains)], &clusters)
        },
        async |proxy: &mut Proxy| {
            let at = proxy.at(IN);
            let mut seen = Vec::new();
            for name in ["nobody.test", "empty.test", "gone.test", "unknown.test"] {
                seen.push(call(at, name, &client).await);
            }
            let plain = linger(at, b"GET / HTTP/1.1\r\nhost: nobody.test\r\n\r\n").await;
            let nameless = visit(at, &Hello::nameless()).await;
            assert_eq!((plain, nameless), (Outcome::Closed, Outcome::Closed));
            let flags = |line: &String| {
                let word = |key: &str| line.split(' ').find_map(|w| w.strip_prefix(key)).unwrap_or_default().to_owned();
                (word("sni="), word("flags="))
            };
            // Envoy connects before it asks for permission; ours comes first here.
            assert!(proxy.kind == Kind::Envoy || origin.accepted() == 0, "nothing reached the origin");
            let mut log: Vec<_> = proxy.access_log(3).await.iter().map(flags).collect();
            log.sort();
            (seen, log)
        },
    )
    .await;
    assert_eq!(seen.0, vec![Verdict::Closed; 4]);
    let log: Vec<_> = seen.1.iter().map(|(sni, flags)| (sni.as_str(), flags.as_str())).collect();
    assert_eq!(log, [("empty.test", "UH"), ("gone.test", "NC"), ("nobody.test", "-")]);
}
