//! What access logs say of TLS, and whom they are kept of, on live connections: as Envoy.

use rustls::version::TLS12;
use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{access_log, bootstrap, cluster, kind, listener, merged, tcp_proxy};
use tests::ca::{Authority, Key, Wanted};
use tests::compare::compare_as;
use tests::mesh_service::{Answer, MeshService};
use tests::process::{Kind, Site};
use tests::story::IN;
use tests::tls;
use tests::verdict::{Verdict, call};

use crate::support::{DNS, HASH, Mesh, ends_tls};

/// Of both sides, but for what differs on purpose (docs/differences.md): which suite is taken of a client's, session
/// IDs, and names of other kinds.
const OPERATORS: [&str; 44] = [
    "REQUESTED_SERVER_NAME",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START(%Y-%m-%d)",
    "DOWNSTREAM_PEER_CERT_V_END(%s)",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_IP_SAN",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_END(%Y)",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_IP_SAN",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_CLUSTER",
    "FILTER_CHAIN_NAME",
    "RESPONSE_FLAGS",
    "CONNECTION_TERMINATION_DETAILS",
];

/// One connection that ends TLS and begins it anew, told by every operator; a client with names of all kinds and one
/// of few, by TLS 1.3 and 1.2.
#[tokio::test]
async fn every_operator_about_tls() {
    let (mesh, world) = (Mesh::new(), Authority::new());
    let wanted = Wanted {
        uris: vec!["spiffe://default/frontend".into(), "kuma://kuma.io/service/frontend".into()],
        dns: vec!["frontend.test".into(), "*.frontend.test".into()],
        ips: vec!["10.1.2.3".parse().unwrap(), "fd00::1".parse().unwrap()],
        ..Wanted::identity("")
    };
    let many = mesh.authority.intermediate().issue_as(&wanted);
    let few = mesh.authority.issue("spiffe://default/few", Key::Rsa);
    let clients = [mesh.client_showing(&many), mesh.authority.client_speaking(&TLS12, &few, &[])];
    let origin = world.server(&world.issue_as(&Wanted { ips: wanted.ips.clone(), ..Wanted::server("a.test") }), &[]);
    let origin = MeshService::start("origin", origin, Answer::Echo).await;
    let ours = world.issue_as(&wanted);
    let common = merged(tls::shows(&[&ours]), tls::trusts(&[&world], tls::name_exact("DNS", "a.test")));
    let common = merged(common, json!({"tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}}));
    let socket = tls::upstream(common, json!({"sni": "a.test"}));
    let lines = compare_as(
        Kind::Egress,
        |site| {
            let format = OPERATORS.map(|operator| format!("%{operator}%")).join("|");
            let log = json!({"access_log": access_log(site, &format)});
            let chain = ends_tls(HASH, mesh.socket(), &[], tcp_proxy("origin", log));
            let origin = merged(cluster("origin", &[origin.address()], json!({})), socket.clone());
            bootstrap(site, &[listener("egress", site.at(IN), &[chain])], &[origin])
        },
        async |proxy| {
            for client in &clients {
                assert_eq!(call(proxy.at(IN), HASH, client).await, Verdict::Served("origin".into()));
            }
            let lines = proxy.access_log(clients.len()).await;
            let split = |line: &String| {
                let values = OPERATORS.iter().zip(line.split('|'));
                values.map(|(operator, value)| format!("{operator}={value}")).collect::<Vec<_>>()
            };
            lines.iter().map(split).collect::<Vec<_>>()
        },
    )
    .await;
    let silent = |line: &[String]| line.iter().filter(|one| one.ends_with("=-")).count();
    assert!(silent(&lines[0]) < 10 && lines.iter().all(|line| line.len() == OPERATORS.len()), "{lines:#?}");
}

/// A log of a chain that is kept where this is true.
fn kept_where(site: &Site, expression: &str) -> Value {
    let mut log = access_log(site, &expression.replace('%', ""));
    log[0]["filter"] = json!({"extension_filter": {"name": "cel", "typed_config": {
        "@type": kind("envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"),
        "expression": expression,
    }}});
    log[0].take()
}

/// Kuma 3.0's MeshAccessLog: rules by identity and server name become expressions.
#[tokio::test]
async fn kept_by_identity_and_server_name() {
    const RULES: [&str; 9] = [
        r#"connection.uri_san_peer_certificate == "spiffe://default/ns/a/sa/x""#,
        r#"connection.uri_san_peer_certificate.startsWith("spiffe://default/ns/a/")"#,
        r#"connection.requested_server_name == "backend.demo.mesh""#,
        r#"connection.uri_san_peer_certificate.startsWith("spiffe://default/ns/") && connection.requested_server_name == "backend.demo.mesh""#,
        r#"!(connection.uri_san_peer_certificate == "spiffe://default/ns/a/sa/x") && !(connection.requested_server_name == "backend.demo.mesh")"#,
        r#"connection.mtls && connection.tls_version == "TLSv1.3""#,
        r#"connection.subject_peer_certificate == "CN=a workload""#,
        r#"has(connection.dns_san_peer_certificate)"#,
        r#"connection.uri_san_peer_certificate"#,
    ];
    let (mesh, origin) = (Mesh::new(), Backend::echo("origin").await);
    let clients = ["spiffe://default/ns/a/sa/x", "spiffe://default/ns/a/sa/y", "spiffe://default/ns/b/sa/x"]
        .map(|identity| mesh.client(identity));
    let nobody = mesh.authority.client_without_certificate(&TLS12);
    let kept = compare_as(
        Kind::Egress,
        |site| {
            let logs = RULES.map(|rule| kept_where(site, rule));
            let proxy = tcp_proxy("origin", json!({"access_log": logs}));
            // One of the two asks for certificates and does without.
            let anybody = tls::downstream(
                merged(tls::shows(&[&mesh.egress]), tls::trusts(&[&mesh.authority], json!({}))),
                json!({}),
            );
            let chains = [ends_tls(HASH, mesh.socket(), &[], proxy.clone()), ends_tls(DNS, anybody, &[], proxy)];
            let origin = cluster("origin", &[origin.address()], json!({}));
            bootstrap(site, &[listener("egress", site.at(IN), &chains)], &[origin])
        },
        async |proxy| {
            for name in [HASH, DNS] {
                for client in &clients {
                    assert!(call(proxy.at(IN), name, client).await.is_served_by("origin"));
                }
            }
            assert!(call(proxy.at(IN), DNS, &nobody).await.is_served_by("origin"));
            proxy.quiet_stats().await;
            let mut kept = proxy.access_log(22).await;
            kept.sort();
            kept
        },
    )
    .await;
    let lines = RULES.map(|rule| kept.iter().filter(|line| *line == rule).count());
    assert_eq!(lines, [2, 4, 4, 3, 2, 6, 6, 0, 0], "{kept:#?}");
}
