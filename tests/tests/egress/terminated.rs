//! The mesh's TLS ends here: external services without TLS of their own.

use serde_json::json;
use tests::backend::Backend;
use tests::bootstrap::{bootstrap, chain, cluster, listener, local_ratelimit, principal, rbac, tcp_proxy};
use tests::ca::Key;
use tests::client::{Outcome, visit};
use tests::compare::compare_as;
use tests::hello::Hello;
use tests::openssl;
use tests::process::{Kind, Site};
use tests::story::{IN, tell};
use tests::verdict::{Verdict, call};

use crate::support::{DNS, HASH, Mesh, NUMERIC_KRI, TAGS, ends_tls, log};

/// Names that rustls' client sends, and those that are none to it.
#[tokio::test]
async fn every_form_of_a_name_is_ended() {
    let (mesh, origin) = (Mesh::new(), Backend::echo("origin").await);
    let frontend = mesh.authority.issue("spiffe://default/frontend", Key::Rsa);
    let client = mesh.client_showing(&frontend);
    let story = compare_as(
        Kind::Egress,
        |site| {
            let proxy = tcp_proxy("origin", json!({"access_log": log(site)}));
            let allowed = [rbac("external.", &[principal("spiffe://default/frontend")])];
            let chains = [TAGS, HASH, NUMERIC_KRI, DNS].map(|n| ends_tls(n, mesh.socket(), &allowed, proxy.clone()));
            let origin = cluster("origin", &[origin.address()], json!({}));
            bootstrap(site, &[listener("egress", site.at(IN), &chains)], &[origin])
        },
        async |proxy| {
            tell(proxy, 4, async |proxy| {
                let at = proxy.at(IN);
                let rustls = [call(at, HASH, &client).await, call(at, DNS, &client).await];
                let as_frontend = (&mesh.authority, &frontend);
                let odd = [TAGS, NUMERIC_KRI].map(|name| openssl::exchange(at, name, as_frontend, "over OpenSSL"));
                let [tags, kri] = odd;
                (rustls, tags.await, kri.await)
            })
            .await
        },
    )
    .await;
    let (rustls, tags, kri) = &story.seen;
    assert!(rustls.iter().all(|verdict| verdict.is_served_by("origin")), "{rustls:?}");
    for odd in [tags, kri] {
        assert_eq!(odd.as_deref(), Ok("origin\nover OpenSSL"));
    }
    assert_eq!(story.change("envoy_rbac_allowed{envoy_rbac_prefix=\"external\"}"), 4.0, "{:#?}", story.stats);
    assert!(
        story.log.iter().all(|l| l.ends_with("peer=spiffe://default/frontend version=TLSv1.3")),
        "{:#?}",
        story.log
    );
}

/// Identity, then permission, then rate: whoever fails one of them reaches nothing.
#[tokio::test]
async fn permission_and_rate() {
    let (mesh, origin) = (Mesh::new(), Backend::echo("origin").await);
    let [frontend, stranger] = ["spiffe://default/frontend", "spiffe://default/stranger"].map(|i| mesh.client(i));
    let bootstrap = |site: &Site| {
        let before = [rbac("external.", &[principal("spiffe://default/frontend")]), local_ratelimit(2, "3600s")];
        let chain = ends_tls(HASH, mesh.socket(), &before, tcp_proxy("origin", json!({"access_log": log(site)})));
        let origin = cluster("origin", &[origin.address()], json!({}));
        bootstrap(site, &[listener("egress", site.at(IN), &[chain])], &[origin])
    };
    let verdicts = compare_as(Kind::Egress, bootstrap, async |proxy| {
        let before = proxy.quiet_stats().await;
        let mut verdicts = Vec::new();
        for client in [&frontend, &stranger, &frontend, &frontend] {
            verdicts.push(call(proxy.at(IN), HASH, client).await);
        }
        let log = proxy.access_log(4).await;
        let denied: Vec<_> = log.iter().filter(|line| line.contains("peer=spiffe://default/stranger")).collect();
        assert_eq!(denied.len(), 1, "{log:#?}");
        let changes = proxy.quiet_stats().await.since(&before);
        let count = |family: &str| changes.sum(family);
        let rbac = (count("envoy_rbac_allowed"), count("envoy_rbac_denied"));
        (verdicts, rbac, denied[0].contains("end=rbac_access_denied_matched_policy[none] "))
    })
    .await;
    let served = || Verdict::Served("origin".into());
    assert_eq!(verdicts.0[..2], [served(), Verdict::Closed], "{verdicts:?}");
    assert_eq!(verdicts.1.1, 1.0);
    assert!(verdicts.2, "the log names the permission that was missed");
}

/// Kuma 3.0: a zone's ingress and its egress are listeners of one Dataplane, in one process; either program runs it.
#[tokio::test]
async fn an_ingress_and_an_egress_in_one_process() {
    const EGRESS: u16 = IN + 1;
    let (mesh, service, origin) = (Mesh::new(), Backend::echo("service").await, Backend::echo("origin").await);
    let client = mesh.client("spiffe://default/frontend");
    for kind in [Kind::Ours, Kind::Egress] {
        let seen = compare_as(
            kind,
            |site| {
                let ingress = [chain(&[DNS], tcp_proxy("service", json!({})))];
                let allowed = [rbac("external.", &[principal("spiffe://default/frontend")])];
                let egress = [
                    ends_tls(NUMERIC_KRI, mesh.socket(), &allowed, tcp_proxy("origin", json!({}))),
                    ends_tls(HASH, mesh.socket(), &allowed, tcp_proxy("origin", json!({}))),
                ];
                let listeners = [
                    listener("self_zoneingress_dp_in", site.at(IN), &ingress),
                    listener("self_zoneegress_dp_out", site.at(EGRESS), &egress),
                ];
                let clusters = [("service", &service), ("origin", &origin)];
                bootstrap(site, &listeners, &clusters.map(|(name, at)| cluster(name, &[at.address()], json!({}))))
            },
            async |proxy| {
                let through = visit(proxy.at(IN), &Hello::to(DNS)).await;
                let ended = call(proxy.at(EGRESS), HASH, &client).await;
                // What is the ingress' is not the egress', and the other way round.
                let crossed = (call(proxy.at(IN), HASH, &client).await, visit(proxy.at(EGRESS), &Hello::to(DNS)).await);
                (through, ended, crossed)
            },
        )
        .await;
        assert_eq!(seen.0, Outcome::Served("service".into()));
        assert_eq!(seen.1, Verdict::Served("origin".into()));
        assert_eq!(seen.2, (Verdict::Closed, Outcome::Closed));
    }
}
